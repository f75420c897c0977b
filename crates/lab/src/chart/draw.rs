//! Charts onto an SVG canvas.

use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::element::{Circle, EmptyElement, PathElement, Rectangle, Text};
use plotters::prelude::{Cartesian2d, Color, DrawingArea, DrawingAreaErrorKind, IntoDrawingArea, IntoFont};
use plotters::prelude::{LineSeries, RGBColor, SVGBackend, WHITE};

use super::scale::{Scale, label, place};
use super::{AxisKind, Chart, Series, Shape};

/// Why a chart cannot be drawn.
#[derive(Debug, thiserror::Error)]
pub enum ChartError {
    /// There is nothing to draw.
    #[error("chart `{title}` has no points")]
    Empty {
        /// The chart's title.
        title: String,
    },
    /// A logarithm that does not exist.
    #[error("chart `{title}`: the logarithmic axis `{axis}` has the value {value}; it must be above 0")]
    NotPositive {
        /// The chart's title.
        title: String,
        /// The axis's label.
        axis: String,
        /// The value.
        value: f64,
    },
    /// The canvas refused.
    #[error("chart `{title}` cannot be drawn: {reason}")]
    Canvas {
        /// The chart's title.
        title: String,
        /// What the canvas said.
        reason: String,
    },
}

/// Colours that are told apart with any colour vision (Okabe and Ito).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(100, 100, 100),
];
const INK: RGBColor = RGBColor(60, 60, 60);
const GRID: RGBColor = RGBColor(225, 225, 225);
const FONT: &str = "sans-serif";

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Panel<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<Scale, Scale>>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

pub(super) fn svg(panels: &[Chart], (width, height): (u32, u32)) -> Result<String, ChartError> {
    for chart in panels {
        check(chart)?;
    }
    let mut text = String::new();
    {
        let canvas =
            SVGBackend::with_string(&mut text, (width, height * panels.len() as u32)).into_drawing_area();
        for (chart, area) in panels.iter().zip(canvas.split_evenly((panels.len().max(1), 1))) {
            draw(chart, &area).map_err(|error| ChartError::Canvas {
                title: chart.title.clone(),
                reason: error.to_string(),
            })?;
        }
    }
    Ok(text)
}

fn check(chart: &Chart) -> Result<(), ChartError> {
    let title = || chart.title.clone();
    if points(chart).next().is_none() {
        return Err(ChartError::Empty { title: title() });
    }
    for (axis, values) in [
        (&chart.x, points(chart).map(|p| p.0).collect::<Vec<_>>()),
        (&chart.y, points(chart).map(|p| p.1).collect()),
    ] {
        if let (AxisKind::Log, Some(&value)) = (&axis.kind, values.iter().find(|value| **value <= 0.0)) {
            return Err(ChartError::NotPositive { title: title(), axis: axis.label.clone(), value });
        }
    }
    Ok(())
}

fn points(chart: &Chart) -> impl Iterator<Item = (f64, f64)> {
    chart.series.iter().flat_map(|series| series.points.iter().copied())
}

fn draw(chart: &Chart, area: &Canvas<'_>) -> Drawn {
    area.fill(&WHITE)?;
    let (head, area) = area.split_vertically(if chart.series.len() > 1 { 56 } else { 34 });
    heading(chart, &head)?;
    let x = Scale::fit(&chart.x, points(chart).map(|p| p.0));
    let y = Scale::fit(&chart.y, points(chart).map(|p| p.1));
    let (bottom, top) = (y.from, y.to);
    let below = (FONT, size_below(chart, area.dim_in_pixel().0)).into_font();
    let mut panel = ChartBuilder::on(&area)
        .margin(14)
        .margin_top(8)
        .x_label_area_size(if chart.x.label.is_empty() { 24 } else { 44 })
        .y_label_area_size(76)
        .build_cartesian_2d(x, y)?;
    panel
        .configure_mesh()
        .x_desc(&chart.x.label)
        .y_desc(&chart.y.label)
        .x_label_formatter(&|at| label(&chart.x, *at))
        .y_label_formatter(&|at| label(&chart.y, *at))
        .x_label_style(below.color(&INK))
        .y_label_style((FONT, 13).into_font().color(&INK))
        .axis_desc_style((FONT, 14).into_font().color(&INK))
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(WHITE)
        .draw()?;
    marks(chart, &mut panel, (bottom, top))?;
    let bars = chart.series.iter().filter(|series| series.shape == Shape::Bars).count();
    let mut bar = 0;
    for (series, colour) in chart.series.iter().zip(COLOURS.into_iter().cycle()) {
        match series.shape {
            Shape::Line => line(chart, &mut panel, series, colour)?,
            Shape::Points => dots(chart, &mut panel, series, colour)?,
            Shape::Bars => {
                rectangles(&mut panel, series, colour, (bar, bars))?;
                bar += 1;
            }
        }
    }
    Ok(())
}

/// Text size of what stands below the x axis: smaller where many names would run into each other.
fn size_below(chart: &Chart, width: u32) -> f64 {
    let AxisKind::Names(names) = &chart.x.kind else { return 13.0 };
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(1);
    // A character is about half as wide as high.
    let room = (f64::from(width) - 110.0) / names.len().max(1) as f64;
    (room / (0.5 * longest as f64)).clamp(7.0, 13.0)
}

/// The title, and under it what each colour stands for: outside of the panel, where no data is.
fn heading(chart: &Chart, area: &Canvas<'_>) -> Drawn {
    /// About the width of a character of the legend, in pixels: nobody measures text here.
    const CHARACTER: i32 = 7;
    const LEFT: i32 = 90;
    area.draw(&Text::new(chart.title.clone(), (LEFT, 12), (FONT, 17).into_font().color(&INK)))?;
    if chart.series.len() < 2 {
        return Ok(());
    }
    let mut x = LEFT;
    for (series, colour) in chart.series.iter().zip(COLOURS.into_iter().cycle()) {
        area.draw(&Rectangle::new([(x, 41), (x + 14, 47)], colour.filled()))?;
        let style = (FONT, 13).into_font().color(&INK);
        area.draw(&Text::new(series.name.clone(), (x + 20, 37), style))?;
        x += 20 + CHARACTER * series.name.chars().count() as i32 + 18;
    }
    Ok(())
}

fn marks(chart: &Chart, panel: &mut Panel<'_>, (bottom, top): (f64, f64)) -> Drawn {
    for mark in &chart.marks {
        let x = place(&chart.x, mark.x);
        panel.draw_series([PathElement::new([(x, bottom), (x, top)], INK.mix(0.5))])?;
        let style = (FONT, 12).into_font().color(&INK);
        panel.draw_series([EmptyElement::at((x, top)) + Text::new(mark.label.clone(), (4, 2), style)])?;
    }
    Ok(())
}

fn line(chart: &Chart, panel: &mut Panel<'_>, series: &Series, colour: RGBColor) -> Drawn {
    /// More points than this are a curve, and need no dots.
    const DOTS: usize = 40;
    panel.draw_series(LineSeries::new(places(chart, series), colour.stroke_width(2)))?;
    if series.points.len() <= DOTS { dots(chart, panel, series, colour) } else { Ok(()) }
}

fn dots(chart: &Chart, panel: &mut Panel<'_>, series: &Series, colour: RGBColor) -> Drawn {
    const RADIUS: u32 = 3;
    panel.draw_series(places(chart, series).map(|at| Circle::new(at, RADIUS, colour.filled())))?;
    Ok(())
}

fn places<'a>(chart: &'a Chart, series: &'a Series) -> impl Iterator<Item = (f64, f64)> + 'a {
    series.points.iter().map(|&(x, y)| (place(&chart.x, x), place(&chart.y, y)))
}

/// Bars of one series of several: a group of bars takes four fifths of a name's place.
fn rectangles(
    panel: &mut Panel<'_>,
    series: &Series,
    colour: RGBColor,
    (index, of): (usize, usize),
) -> Drawn {
    let width = 0.8 / of as f64;
    let left = -0.4 + width * index as f64;
    let gap = width * 0.06;
    panel.draw_series(series.points.iter().map(|&(x, y)| {
        Rectangle::new([(x + left + gap, 0.0), (x + left + width - gap, y)], colour.filled())
    }))?;
    Ok(())
}
