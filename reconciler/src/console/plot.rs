//! Small plots as SVG: a bar for each stretch of time. Only shapes and numbers are made here; colours
//! are the style sheet's.

use askama::Template;

/// The plot's own units; the page scales it.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 120.0;
/// The part of a stretch that is left empty between two bars.
const GAP: f64 = 0.18;
/// A bar that is not nothing is seen.
const MIN_HEIGHT: f64 = 1.5;

#[derive(Debug, Template)]
#[template(path = "plot.html")]
pub(super) struct Plot {
    pub(super) title: &'static str,
    pub(super) unit: &'static str,
    /// What it says in words, for those who do not see it.
    pub(super) words: String,
    pub(super) first: String,
    pub(super) last: String,
    pub(super) most: String,
    bars: Vec<Bar>,
}

#[derive(Debug)]
struct Bar {
    x: String,
    y: String,
    width: String,
    height: String,
    says: String,
}

/// A stretch of time with its value; `None` where there is nothing to measure.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Point {
    pub(super) at: String,
    pub(super) value: Option<f64>,
}

impl Plot {
    pub(super) fn new(title: &'static str, unit: &'static str, points: &[Point]) -> Self {
        let most = points.iter().filter_map(|it| it.value).fold(0.0, f64::max);
        // At most some hundred points: far from where f64 loses whole numbers.
        let step = WIDTH / f64::from(u32::try_from(points.len().max(1)).unwrap_or(u32::MAX));
        let bar = |(index, point): (usize, &Point)| {
            let value = point.value.filter(|value| *value > 0.0)?;
            let height = (HEIGHT * value / most).max(MIN_HEIGHT);
            let x = step * (f64::from(u32::try_from(index).unwrap_or(u32::MAX)) + GAP / 2.0);
            Some(Bar {
                x: format!("{x:.1}"),
                y: format!("{:.1}", HEIGHT - height),
                width: format!("{:.1}", step * (1.0 - GAP)),
                height: format!("{height:.1}"),
                says: format!("{}: {} {unit}", point.at, number(value)),
            })
        };
        let at = |point: Option<&Point>| point.map(|it| it.at.clone()).unwrap_or_default();
        let (first, last) = (at(points.first()), at(points.last()));
        let last_value = points.iter().rev().find_map(|it| it.value).unwrap_or_default();
        Self {
            title,
            unit,
            words: format!(
                "{title}, {first} to {last}: at most {}, last {} {unit}",
                number(most),
                number(last_value)
            ),
            first,
            last,
            most: number(most),
            bars: points.iter().enumerate().filter_map(bar).collect(),
        }
    }
}

/// A number with as many decimals as its size bears.
fn number(value: f64) -> String {
    if value == 0.0 || value >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else if value >= 1.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(at: &str, value: Option<f64>) -> Point {
        Point { at: at.to_owned(), value }
    }

    #[test]
    fn the_highest_bar_is_as_high_as_the_plot() {
        let plot = Plot::new(
            "Events",
            "events",
            &[
                point("09:00", Some(50.0)),
                point("09:01", None),
                point("09:02", Some(0.0)),
                point("09:03", Some(200.0)),
                point("09:04", Some(0.1)),
            ],
        );
        let bars: Vec<_> = plot.bars.iter().map(|bar| (&*bar.x, &*bar.y, &*bar.height)).collect();
        let expected =
            [("10.8", "90.0", "30.0"), ("370.8", "0.0", "120.0"), ("490.8", "118.5", "1.5")];
        assert_eq!(bars, expected);
        assert_eq!(plot.bars[1].says, "09:03: 200 events");
        assert_eq!(plot.words, "Events, 09:00 to 09:04: at most 200, last 0.100 events");
    }

    #[test]
    fn nothing_is_no_bar() {
        let plot = Plot::new("Events", "events", &[]);
        assert!(plot.bars.is_empty() && plot.most == "0");
        plot.render().unwrap();
    }
}
