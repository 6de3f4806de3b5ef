//! Figures of another system, measured earlier with this harness, to be read beside our own.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Peer {
    pub(crate) system: String,
    /// How it was measured.
    pub(crate) about: String,
    rows: Vec<Row>,
}

/// One scenario with one set-up of the peer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    label: String,
    pub(crate) setup: String,
    /// By the name of the report's line.
    pub(crate) figures: BTreeMap<String, Figure>,
}

#[derive(Deserialize, Clone, Copy, Debug, PartialEq)]
#[serde(untagged)]
pub(crate) enum Figure {
    Median(f64),
    /// The least and the most, where no median is known.
    Range(f64, f64),
}

impl Figure {
    /// Our figure over the peer's; none where the peer's is a range or nothing.
    pub(crate) fn ratio(self, ours: f64) -> Option<f64> {
        match self {
            Self::Median(peer) if peer != 0.0 => Some(ours / peer),
            Self::Median(_) | Self::Range(..) => None,
        }
    }
}

impl Peer {
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let name = || file.display().to_string();
        serde_json::from_str(&std::fs::read_to_string(file).with_context(name)?).with_context(name)
    }

    pub(crate) fn rows<'a>(&'a self, label: &'a str) -> impl Iterator<Item = &'a Row> {
        self.rows.iter().filter(move |row| row.label == label)
    }

    /// Every name of a line that the figures go by.
    #[cfg(test)]
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().flat_map(|row| row.figures.keys().map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_ours_over_theirs() {
        assert_eq!(Figure::Median(4.0).ratio(10.0), Some(2.5));
        assert_eq!(Figure::Median(0.0).ratio(10.0), None);
        assert_eq!(Figure::Range(1.0, 2.0).ratio(10.0), None);
    }
}
