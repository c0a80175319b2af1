//! Selects the part of the page that a request asks for in its query string.
//!
//! `?name[]=NAME` keeps the families that have this name or a sample of this name, as Prometheus's official clients do.
//! It may occur several times. `?function=NAME` keeps the series whose label `function` has this value. If there are
//! both, a series must satisfy both. A parameter that is absent restricts nothing.

use std::collections::BTreeSet;

use crate::scrape::page::Page;

/// A part of the page.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Selection {
    names: BTreeSet<String>,
    functions: BTreeSet<String>,
}

impl Selection {
    /// Reads a query string. If it has another parameter, returns the name of that parameter as the error: a client
    /// that misspells a parameter would otherwise get the whole page.
    pub(super) fn parse(query: &str) -> Result<Self, String> {
        let mut selection = Self::default();
        for (parameter, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*parameter {
                "name[]" => selection.names.insert(value.into_owned()),
                "function" => selection.functions.insert(value.into_owned()),
                other => return Err(other.to_owned()),
            };
        }
        Ok(selection)
    }

    /// Removes from the page what the request does not ask for.
    pub(super) fn apply(&self, page: &mut Page) {
        if !self.names.is_empty() {
            page.families.retain(|family| family.sample_names().iter().any(|name| self.names.contains(name)));
        }
        if !self.functions.is_empty() {
            for family in &mut page.families {
                family.series.retain(|series| {
                    series.labels.iter().any(|(name, value)| name == "function" && self.functions.contains(value))
                });
            }
            page.families.retain(|family| !family.series.is_empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrape::page::{PageFamily, PageKind, PageSeries, PageValue};

    fn page() -> Page {
        let series = |function: Option<&str>| PageSeries {
            labels: function.map(|function| ("function".to_owned(), function.to_owned())).into_iter().collect(),
            value: PageValue::Number(1.0),
            created_at_ms: None,
        };
        let family = |name: &str, kind, functions: &[Option<&str>]| PageFamily {
            name: name.into(),
            help: String::new(),
            kind,
            series: functions.iter().map(|function| series(*function)).collect(),
        };
        let families = vec![
            family("invocations_total", PageKind::Counter, &[Some("encode"), Some("gc")]),
            family("seconds", PageKind::Histogram, &[None]),
            family("up", PageKind::Gauge, &[Some("gc")]),
        ];
        Page { families, ..Page::default() }
    }

    fn selected(query: &str) -> Vec<String> {
        let mut page = page();
        Selection::parse(query).unwrap().apply(&mut page);
        let shown = |family: &PageFamily| format!("{}:{}", family.name, family.series.len());
        page.families.iter().map(shown).collect()
    }

    #[test]
    fn a_query_keeps_what_it_names() {
        assert_eq!(selected(""), ["invocations_total:2", "seconds:1", "up:1"]);
        assert_eq!(selected("name[]=up&name%5B%5D=seconds_sum"), ["seconds:1", "up:1"]);
        assert_eq!(selected("name[]=up_sum"), Vec::<String>::new());
        assert_eq!(selected("function=gc"), ["invocations_total:1", "up:1"]);
        assert_eq!(selected("function=encode&name[]=invocations_total&name[]=up"), ["invocations_total:1"]);
    }

    #[test]
    fn a_parameter_that_is_not_known_is_refused() {
        assert_eq!(Selection::parse("name[]=a&nam%5B%5D=up"), Err("nam[]".to_owned()));
        assert_eq!(Selection::parse("name=up"), Err("name".to_owned()));
    }
}
