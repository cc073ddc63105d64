//! Plots: a bar for each ratio to the baseline, on a logarithmic scale, as SVG.

use std::fmt::Write;

use crate::tables::{Table, three_digits};

const WIDTH: f64 = 900.0;
/// Where names end and bars begin.
const LEFT: f64 = 260.0;
const RIGHT: f64 = 820.0;
const BAR: f64 = 11.0;
const TOP: f64 = 52.0;

/// Told apart by most eyes, also without colours' names.
const COLOURS: [&str; 8] =
    ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#999999", "#000000"];

/// The plot of a table.
pub(crate) fn svg(table: &Table) -> String {
    let contestants: Vec<_> = table.columns.iter().filter(|name| *name != table.baseline).collect();
    let scale = Scale::of(table);
    let mut body = String::new();
    let mut y = TOP;
    for row in &table.rows {
        let begin = y;
        for (contestant, colour) in contestants.iter().zip(COLOURS) {
            let Some(ratio) = row.ratio(contestant, table.baseline) else { continue };
            body += &scale.bar(y, ratio, colour);
            y += BAR;
        }
        let middle = f64::midpoint(begin, y) + 4.0;
        body += &label(LEFT - 8.0, middle, "end", &row.name);
        y += BAR * 0.8;
    }
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {:.0}\" \
         font-family=\"sans-serif\" font-size=\"10\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        y + 20.0
    );
    text += &label(10.0, 16.0, "start", &format!("{}: ratio to {}", table.title, table.baseline));
    let mut x = 10.0;
    for (contestant, colour) in contestants.iter().zip(COLOURS) {
        write_to(
            &mut text,
            format_args!(
                "<rect x=\"{x}\" y=\"26\" width=\"10\" height=\"10\" fill=\"{colour}\"/>\n"
            ),
        );
        text += &label(x + 14.0, 35.0, "start", contestant);
        x += 105.0;
    }
    text + &scale.grid(y) + &body + "</svg>\n"
}

/// Powers of ten between which all ratios are.
struct Scale {
    low: i32,
    high: i32,
}

impl Scale {
    fn of(table: &Table) -> Self {
        let (mut low, mut high): (f64, f64) = (1.0, 1.0);
        for row in &table.rows {
            for ratio in table.columns.iter().filter_map(|name| row.ratio(name, table.baseline)) {
                if ratio > 0.0 {
                    (low, high) = (low.min(ratio), high.max(ratio));
                }
            }
        }
        let decade = |exponent: &i32| 10_f64.powi(*exponent);
        let low = (-9..=0).rev().find(|e| decade(e) <= low).unwrap_or(-9);
        let high = (0..9).find(|e| decade(e) >= high).unwrap_or(9).max(low + 1);
        Self { low, high }
    }

    fn x(&self, ratio: f64) -> f64 {
        let (low, high) = (f64::from(self.low), f64::from(self.high));
        LEFT + (RIGHT - LEFT) * ((ratio.log10() - low) / (high - low)).clamp(0.0, 1.0)
    }

    /// From 1 to the ratio, with the ratio in figures.
    fn bar(&self, y: f64, ratio: f64, colour: &str) -> String {
        let (from, to) = (self.x(1.0), self.x(ratio));
        let (left, width) = (from.min(to), (to - from).abs().max(1.0));
        let height = BAR - 1.0;
        format!(
            "<rect x=\"{left:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height}\" fill=\"{colour}\"/>\n"
        ) + &label(left + width + 3.0, y + 9.0, "start", &three_digits(ratio))
    }

    fn grid(&self, bottom: f64) -> String {
        let mut text = String::new();
        for exponent in self.low..=self.high {
            let (ratio, width) = (10_f64.powi(exponent), if exponent == 0 { 1.5 } else { 0.5 });
            let x = self.x(ratio);
            write_to(
                &mut text,
                format_args!(
                    "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{bottom:.1}\" stroke=\"#888\" \
                 stroke-width=\"{width}\"/>\n",
                    TOP - 6.0
                ),
            );
            text += &label(x, bottom + 12.0, "middle", &format!("{ratio}×"));
        }
        text
    }
}

fn label(x: f64, y: f64, anchor: &str, text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>\n")
}

fn write_to(text: &mut String, what: std::fmt::Arguments) {
    text.write_fmt(what).unwrap_or_else(|_| unreachable!("a String can always be written to"));
}
