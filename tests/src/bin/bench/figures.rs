//! What a row of the benchmark measured: figures, each with its samples.

use serde::{Deserialize, Serialize};

/// One figure of one side, with one sample for each round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// What was done: `100 changes/s, 1 tenant`. Empty where a row has one case.
    pub(crate) case: String,
    /// What was measured: `p50`.
    pub(crate) measure: String,
    pub(crate) unit: String,
    /// Who did it: `Offtake`, or what it is compared with.
    pub(crate) side: String,
    pub(crate) samples: Vec<f64>,
}

impl Figure {
    pub(crate) fn median(&self) -> f64 {
        percentile(&self.samples, 50.0)
    }

    pub(crate) fn min(&self) -> f64 {
        percentile(&self.samples, 0.0)
    }

    pub(crate) fn max(&self) -> f64 {
        percentile(&self.samples, 100.0)
    }

    /// `median (min–max)`, without the unit.
    pub(crate) fn shown(&self) -> String {
        let (least, most) = (number(self.min()), number(self.max()));
        match self.samples.len() {
            0 | 1 => number(self.median()),
            _ => format!("{} ({least}–{most})", number(self.median())),
        }
    }

    pub(crate) fn is(&self, case: &str, measure: &str, side: &str) -> bool {
        self.case == case && self.measure == measure && self.side == side
    }
}

/// The figures of a row, in the order in which they were first added.
#[derive(Debug, Default)]
pub(crate) struct Figures(pub(crate) Vec<Figure>);

impl Figures {
    /// Adds one sample.
    pub(crate) fn add(
        &mut self,
        case: &str,
        (measure, unit): (&str, &str),
        side: &str,
        sample: f64,
    ) {
        match self.0.iter_mut().find(|figure| figure.is(case, measure, side)) {
            Some(figure) => figure.samples.push(sample),
            None => self.0.push(Figure {
                case: case.to_owned(),
                measure: measure.to_owned(),
                unit: unit.to_owned(),
                side: side.to_owned(),
                samples: vec![sample],
            }),
        }
    }
}

/// The percentile by nearest rank.
pub(crate) fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
}

/// `5000` → `5 000`.
pub(crate) fn whole(value: u32) -> String {
    number(f64::from(value)).trim_end_matches(".00").trim_end_matches(".0").to_owned()
}

/// Three digits, or all before the point: `12 345`, `123`, `12.3`, `1.23`, `0.04`.
pub(crate) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        value if value < 10.0 => 2,
        value if value < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    let (sign, rest) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("-", rest));
    let (whole, fraction) =
        rest.split_once('.').map_or((rest, String::new()), |(w, f)| (w, format!(".{f}")));
    let groups: Vec<&str> = whole
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).unwrap_or_default())
        .collect();
    format!("{sign}{}{fraction}", groups.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, expect) in [
            (1_234_567.4, "1 234 567"),
            (123.4, "123"),
            (12.34, "12.3"),
            (1.234, "1.23"),
            (0.0, "0.00"),
            (-0.5, "-0.50"),
        ] {
            assert_eq!(number(value), expect);
        }
    }

    #[test]
    fn samples_of_one_figure_are_put_together() {
        let mut figures = Figures::default();
        for sample in [3.0, 1.0, 2.0] {
            figures.add("", ("rate", "rows/s"), "Offtake", sample);
        }
        figures.add("", ("rate", "rows/s"), "built-in", 9.0);
        let [ours, theirs] = &figures.0[..] else { panic!("{figures:?}") };
        assert_eq!((ours.median(), ours.min(), ours.max()), (2.0, 1.0, 3.0));
        assert_eq!(ours.shown(), "2.00 (1.00–3.00)");
        assert_eq!(theirs.shown(), "9.00");
    }
}
