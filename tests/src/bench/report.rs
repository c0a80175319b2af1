//! Results as data. `scripts/bench-document` renders them.

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
    /// Its heading.
    pub title: String,
    /// Its columns, without that of the rows' names.
    pub columns: Vec<Column>,
    /// Its rows.
    pub rows: Vec<Row>,
    /// What is measured, how, and what is not comparable.
    pub notes: Vec<String>,
}

/// A column: all its numbers have one unit.
#[derive(Debug, Serialize)]
pub(super) struct Column {
    /// Its heading.
    pub name: String,
    /// The unit, such as `ms`; `×` is a ratio, and none is a count.
    pub unit: &'static str,
}

/// A row.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    /// Its heading.
    pub name: String,
    /// Its numbers; `None` where nothing can be said.
    pub cells: Vec<Option<f64>>,
}

/// One diagram with two logarithmic axes.
#[derive(Debug, Serialize)]
pub(super) struct Panel {
    /// Its heading.
    pub title: String,
    /// What grows.
    pub x: String,
    /// What is measured, with its unit.
    pub y: String,
    /// Its curves.
    pub lines: Vec<Line>,
}

/// One curve.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    /// Whose it is.
    pub name: String,
    /// Its points, x and y.
    pub points: Vec<(f64, f64)>,
}

impl Table {
    /// A table without rows yet.
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

    /// Adds a row that does not say something in each column.
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
