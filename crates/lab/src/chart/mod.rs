//! Charts as SVG: lines and bars over linear, logarithmic or named axes, several panels above each other.
//!
//! Text is left to whoever shows the file: nothing here needs a font. An SVG stands alone, so it may be written to a file or
//! put into a page as it is.

mod draw;
mod scale;

use std::fmt;

pub use draw::ChartError;

/// Width and height of a panel that nothing is said about, in pixels.
const SIZE: (u32, u32) = (760, 320);

/// One panel: series over common axes.
pub struct Chart {
    title: String,
    x: Axis,
    y: Axis,
    series: Vec<Series>,
    marks: Vec<Mark>,
}

/// An axis: what it shows, how it is divided, how its values are written.
pub struct Axis {
    label: String,
    kind: AxisKind,
    write: Box<dyn Fn(f64) -> String>,
}

enum AxisKind {
    Linear { from_zero: bool },
    Log,
    Names(Vec<String>),
}

/// Points that belong together.
struct Series {
    name: String,
    shape: Shape,
    points: Vec<(f64, f64)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Line,
    Points,
    Bars,
}

/// A vertical line at a place of the x axis.
struct Mark {
    x: f64,
    label: String,
}

impl Axis {
    /// A linear axis, written with as few digits as tell its ticks apart.
    pub fn linear(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            kind: AxisKind::Linear { from_zero: false },
            write: Box::new(scale::plain),
        }
    }

    /// A logarithmic axis. Values must be above 0.
    pub fn log(label: impl Into<String>) -> Self {
        Self { label: label.into(), kind: AxisKind::Log, write: Box::new(scale::plain) }
    }

    /// An axis of names: the values are 0, 1, 2, …
    pub fn names<S: Into<String>>(label: impl Into<String>, names: impl IntoIterator<Item = S>) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        Self { label: label.into(), kind: AxisKind::Names(names), write: Box::new(scale::plain) }
    }

    /// A linear axis that begins at 0.
    #[must_use]
    pub fn from_zero(mut self) -> Self {
        if let AxisKind::Linear { from_zero } = &mut self.kind {
            *from_zero = true;
        }
        self
    }

    /// How values are written beside the ticks.
    #[must_use]
    pub fn written(mut self, write: impl Fn(f64) -> String + 'static) -> Self {
        self.write = Box::new(write);
        self
    }
}

impl Chart {
    /// An empty chart.
    pub fn new(title: impl Into<String>, x: Axis, y: Axis) -> Self {
        Self { title: title.into(), x, y, series: Vec::new(), marks: Vec::new() }
    }

    /// Adds points joined by a line. Points that are not finite interrupt nothing and are left out.
    #[must_use]
    pub fn line(self, name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        self.with(name, Shape::Line, points)
    }

    /// Adds points that nothing joins.
    #[must_use]
    pub fn points(self, name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        self.with(name, Shape::Points, points)
    }

    /// Adds a bar for each value of an axis of names, beside the bars of other series. A value that is not finite has no bar.
    #[must_use]
    pub fn bars(self, name: impl Into<String>, values: impl IntoIterator<Item = f64>) -> Self {
        self.with(name, Shape::Bars, values.into_iter().enumerate().map(|(i, value)| (i as f64, value)))
    }

    /// Adds a vertical line.
    #[must_use]
    pub fn mark(mut self, x: f64, label: impl Into<String>) -> Self {
        self.marks.push(Mark { x, label: label.into() });
        self
    }

    fn with(
        mut self,
        name: impl Into<String>,
        shape: Shape,
        points: impl IntoIterator<Item = (f64, f64)>,
    ) -> Self {
        let points = points.into_iter().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
        self.series.push(Series { name: name.into(), shape, points });
        self
    }

    /// The chart as an SVG document.
    ///
    /// # Errors
    /// [`ChartError`] if there is nothing to draw, or a logarithmic axis has a value of 0 or less.
    pub fn to_svg(&self) -> Result<String, ChartError> {
        to_svg(std::slice::from_ref(self))
    }
}

/// Panels above each other as one SVG document.
///
/// # Errors
/// As [`Chart::to_svg`].
pub fn to_svg(panels: &[Chart]) -> Result<String, ChartError> {
    draw::svg(panels, SIZE)
}

impl fmt::Debug for Chart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chart").field("title", &self.title).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bars() -> Chart {
        Chart::new("Speed", Axis::names("", ["a", "b"]), Axis::linear("TFLOPS").from_zero())
            .bars("published", [1.0, 2.0])
            .bars("here", [1.5, f64::NAN])
    }

    #[test]
    fn a_line_chart_is_a_document_with_its_words() {
        let chart = Chart::new("Loss & <steps>", Axis::linear("step"), Axis::log("loss"))
            .line("here", [(0.0, 10.0), (10.0, 1.0), (20.0, 0.1)])
            .mark(10.0, "restart");
        let svg = chart.to_svg().unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for word in ["Loss &amp; &lt;steps&gt;", "step", "loss", "restart", "0.1"] {
            assert!(svg.contains(word), "{word}");
        }
        let curves = svg.lines().filter(|line| line.contains("<polyline") && line.contains("#0072B2"));
        assert_eq!(curves.count(), 1);
        assert_eq!(svg, chart.to_svg().unwrap(), "the same chart is the same text");
    }

    #[test]
    fn points_are_dots_that_nothing_joins() {
        let chart =
            Chart::new("Dots", Axis::linear("x"), Axis::linear("y")).points("a", [(0.0, 1.0), (1.0, 2.0)]);
        let svg = chart.to_svg().unwrap();
        let coloured =
            |shape: &str| svg.lines().filter(|l| l.contains(shape) && l.contains("#0072B2")).count();
        assert_eq!((coloured("<circle"), coloured("<polyline")), (2, 0), "{svg}");
    }

    #[test]
    fn every_finite_value_has_its_bar() {
        let svg = bars().to_svg().unwrap();
        let drawn = |colour: &str| svg.matches(&format!("fill=\"{colour}\"")).count();
        assert_eq!(drawn("#0072B2"), 2 + 1, "two bars and the legend");
        assert_eq!(drawn("#D55E00"), 1 + 1, "one bar and the legend");
    }

    #[test]
    fn panels_are_one_document() {
        let svg = to_svg(&[bars(), bars()]).unwrap();
        assert_eq!(svg.matches("<svg").count(), 1);
        assert_eq!(svg.matches("TFLOPS").count(), 2);
    }

    #[test]
    fn what_cannot_be_drawn_is_said() {
        let empty = Chart::new("Nothing", Axis::linear("x"), Axis::linear("y")).line("a", []);
        assert_eq!(empty.to_svg().unwrap_err().to_string(), "chart `Nothing` has no points");
        let zero = Chart::new("Zero", Axis::linear("x"), Axis::log("y")).line("a", [(1.0, 0.0)]);
        assert!(zero.to_svg().unwrap_err().to_string().contains("logarithmic axis `y` has the value 0"));
    }

    #[test]
    fn a_single_point_is_drawn() {
        let one = Chart::new("One", Axis::log("x"), Axis::linear("y")).line("a", [(5.0, 3.0)]);
        assert!(one.to_svg().unwrap().contains("<circle"));
    }
}
