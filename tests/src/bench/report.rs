//! Holds results as data, which `scripts/bench-document` renders.

use serde::Serialize;

/// The results of one part.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// Tables of numbers.
    pub tables: Vec<Table>,
    /// Panels of the part's picture.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub panels: Vec<Panel>,
}

/// A table of numbers.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    /// Heading of the table.
    pub title: String,
    /// Columns, without the one of the rows' names.
    pub columns: Vec<Column>,
    /// Rows of the table.
    pub rows: Vec<Row>,
    /// Remarks on the measurement and on what is not comparable.
    pub notes: Vec<String>,
}

/// A column: all its numbers have one unit.
#[derive(Debug, Serialize)]
pub(super) struct Column {
    /// Heading of the column.
    pub name: String,
    /// Unit, such as `ms`; `×` marks a ratio, and an empty unit a count.
    pub unit: &'static str,
}

/// A row.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    /// Heading of the row.
    pub name: String,
    /// Numbers of the row; `None` if a number is unknown.
    pub cells: Vec<Option<f64>>,
}

/// A diagram with two logarithmic axes.
#[derive(Debug, Serialize)]
pub(super) struct Panel {
    /// Heading of the diagram.
    pub title: String,
    /// Label of the x axis: the quantity that grows.
    pub x: String,
    /// Label of the y axis: the measured quantity and its unit.
    pub y: String,
    /// Curves of the diagram.
    pub lines: Vec<Line>,
}

/// One curve.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    /// Name of the subject.
    pub name: String,
    /// Points, as pairs of x and y.
    pub points: Vec<(f64, f64)>,
}

impl Table {
    /// Returns a table without rows.
    pub(super) fn new<'a>(
        title: impl Into<String>,
        columns: impl IntoIterator<Item = (&'a str, &'static str)>,
    ) -> Self {
        let columns = columns.into_iter().map(|(name, unit)| Column { name: name.to_owned(), unit });
        Self { title: title.into(), columns: columns.collect(), rows: Vec::new(), notes: Vec::new() }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, name: impl Into<String>, cells: impl IntoIterator<Item = f64>) {
        self.row_with_gaps(name, cells.into_iter().map(Some));
    }

    /// Adds a row that may lack numbers in some columns.
    pub(super) fn row_with_gaps(&mut self, name: impl Into<String>, cells: impl IntoIterator<Item = Option<f64>>) {
        let row = Row { name: name.into(), cells: cells.into_iter().collect() };
        assert_eq!(row.cells.len(), self.columns.len(), "{} has a cell for each column", row.name);
        self.rows.push(row);
    }

    /// Adds a note.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }
}

impl From<Table> for Report {
    fn from(table: Table) -> Self {
        Self { tables: vec![table], panels: Vec::new() }
    }
}
