//! A row of the benchmark's table: one piece of work, done by Offtake and by what it is compared
//! with.

use std::future::Future;
use std::pin::Pin;

use crate::figures::Figures;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Samples of each figure. Fewer than 3 give no meaningful median.
    pub(crate) rounds: usize,
    /// Only to see that the benchmark still works; the figures mean nothing.
    pub(crate) quick: bool,
}

impl Plan {
    pub(crate) const FULL: Plan = Plan { rounds: 3, quick: false };
    pub(crate) const QUICK: Plan = Plan { rounds: 1, quick: true };

    pub(crate) fn either<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

pub(crate) type Measuring = Pin<Box<dyn Future<Output = anyhow::Result<Figures>>>>;

/// One module of [`crate::rows`].
pub(crate) struct Row {
    /// As `--only` takes it.
    pub(crate) name: &'static str,
    /// What is done, and how it is measured.
    pub(crate) about: &'static str,
    pub(crate) targets: &'static [Target],
    pub(crate) measure: fn(Plan) -> Measuring,
}

/// What a figure should be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) case: &'static str,
    pub(crate) measure: &'static str,
    pub(crate) side: &'static str,
    /// The side whose figure it is divided by; the figure itself where none is named.
    pub(crate) beside: Option<&'static str>,
    pub(crate) limit: Limit,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

impl Limit {
    pub(crate) fn holds(self, value: f64) -> bool {
        match self {
            Limit::AtLeast(limit) => value >= limit,
            Limit::AtMost(limit) => value <= limit,
        }
    }
}
