//! Charts as SVG that takes its colours from the page's style sheet, so that they fit a light and a dark page: bars round
//! a ratio of one, stacked bars, and curves on logarithmic axes.

use std::fmt::Write;

/// The width of every chart; heights follow from what is in it.
const WIDTH: f64 = 900.0;
/// Space for what stands to the left.
const LEFT: f64 = 130.0;
/// Space for numbers to the right.
const RIGHT: f64 = 70.0;

/// A bar or curve belongs to somebody, whose colour is that of the class of this name.
pub type Class<'a> = &'a str;

/// Text that may stand in HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The class of a peer.
pub fn class_of(peer: &str) -> String {
    format!("p-{}", peer.replace(' ', "-"))
}

/// The start of a chart; what follows, and `</svg>`, is the caller's.
fn open(height: f64, title: &str) -> String {
    let title = escape(title);
    format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\"><title>{title}</title>\n"
    )
}

fn text(svg: &mut String, (x, y): (f64, f64), class: &str, text: &str) {
    // Writing to a String cannot fail; so everywhere here.
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{}</text>", escape(text));
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), class: &str) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ = writeln!(
        svg,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>"
    );
}

fn bar(svg: &mut String, (x, y): (f64, f64), (width, height): (f64, f64), class: &str, tip: &str) {
    let _ = writeln!(
        svg,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\" rx=\"2\" class=\"{class}\">\
         <title>{}</title></rect>",
        width.max(1.0),
        escape(tip)
    );
}

/// A ratio, with the ends of its interval.
pub struct Ratio<'a> {
    /// Whose it is.
    pub class: Class<'a>,
    /// Its name, for the reader who points at it.
    pub name: &'a str,
    /// The ratio.
    pub ratio: f64,
    /// Both ends of its interval.
    pub interval: (f64, f64),
}

/// Groups of bars that start at a ratio of one: to the left what takes less, to the right what takes more.
pub fn ratios(title: &str, groups: &[(&str, Vec<Ratio>)]) -> String {
    const BAR: f64 = 13.0;
    const GAP: f64 = 12.0;
    let all = groups.iter().flat_map(|(_, bars)| bars.iter().map(|bar| bar.ratio));
    let low = all.clone().fold(0.1, f64::min) / 1.3;
    let high = all.fold(2.0, f64::max) * 1.3;
    let x = |ratio: f64| {
        LEFT + (ratio.clamp(low, high) / low).log10() / (high / low).log10() * (WIDTH - LEFT - RIGHT)
    };
    let height: f64 = groups.iter().map(|(_, bars)| bars.len() as f64 * BAR + GAP).sum::<f64>() + 34.0;
    let mut svg = open(height, title);
    for tick in ticks(low, high, &[1.0, 2.0, 5.0]) {
        let class = if (tick - 1.0).abs() < 1e-9 { "one" } else { "grid" };
        line(&mut svg, (x(tick), 4.0), (x(tick), height - 28.0), class);
        text(&mut svg, (x(tick), height - 12.0), "tick middle", &format!("{tick}×"));
    }
    let mut y = GAP / 2.0;
    for (name, bars) in groups {
        text(&mut svg, (LEFT - 8.0, y + bars.len() as f64 * BAR / 2.0 + 4.0), "label end", name);
        for Ratio { class, name: whose, ratio, interval } in bars {
            let (from, to) = (x(ratio.min(1.0)), x(ratio.max(1.0)));
            let tip = format!("{name}, {whose}: {ratio:.3} ({:.3} to {:.3})", interval.0, interval.1);
            bar(&mut svg, (from, y + 1.0), (to - from, BAR - 3.0), class, &tip);
            let middle = y + BAR / 2.0 - 0.5;
            line(&mut svg, (x(interval.0), middle), (x(interval.1), middle), "interval");
            let value = if *ratio < 0.1 { format!("{ratio:.3}") } else { format!("{ratio:.2}") };
            let (at, anchor) = if *ratio < 1.0 { (from - 5.0, "end") } else { (to + 5.0, "start") };
            text(&mut svg, (at, y + BAR - 3.0), &format!("value {anchor}"), &value);
            y += BAR;
        }
        y += GAP;
    }
    svg + "</svg>\n"
}

/// Bars whose parts add up, each row to a length of its own scale: shares of a whole.
pub fn shares(title: &str, rows: &[(&str, Vec<(String, f64)>)], unit: impl Fn(f64) -> String) -> String {
    const ROW: f64 = 30.0;
    let height = rows.len() as f64 * ROW + 8.0;
    let mut svg = open(height, title);
    for (row, (name, parts)) in rows.iter().enumerate() {
        let y = row as f64 * ROW + 4.0;
        let total: f64 = parts.iter().map(|(_, value)| value).sum();
        text(&mut svg, (LEFT - 8.0, y + 16.0), "label end", name);
        let mut x = LEFT;
        for (number, (part, value)) in parts.iter().enumerate() {
            let width = value / total * (WIDTH - LEFT - RIGHT);
            let tip = format!("{name}, {part}: {}, {:.0} %", unit(*value), value / total * 100.0);
            bar(&mut svg, (x, y), (width - 1.0, ROW - 8.0), &format!("part-{}", number % 8), &tip);
            // About the width of the letters.
            if width > 7.0 * part.len() as f64 + 8.0 {
                text(&mut svg, (x + width / 2.0, y + 15.0), "inside middle", part);
            }
            x += width;
        }
        text(&mut svg, (x + 6.0, y + 16.0), "value start", &unit(total));
    }
    svg + "</svg>\n"
}

/// A curve, and whose it is.
pub struct Curve<'a> {
    /// Whose it is.
    pub class: Class<'a>,
    /// Its name.
    pub name: &'a str,
    /// Its points, by growing x.
    pub points: Vec<(f64, f64)>,
}

/// Curves on axes that are both logarithmic; each is named at its end.
pub fn curves(title: &str, x_title: &str, curves: &[Curve], y_unit: impl Fn(f64) -> String) -> String {
    const HEIGHT: f64 = 360.0;
    const BOTTOM: f64 = 44.0;
    const NAMES: f64 = 90.0;
    let points = || curves.iter().flat_map(|curve| curve.points.iter().copied());
    let range = |of: fn((f64, f64)) -> f64, room: f64| {
        let (low, high) = points()
            .map(of)
            .fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        (low / room, high * room)
    };
    let ((left, right), (low, high)) = (range(|point| point.0, 1.05), range(|point| point.1, 1.3));
    let share = |value: f64, low: f64, high: f64| (value / low).log10() / (high / low).log10();
    let x = |value: f64| LEFT + share(value, left, right) * (WIDTH - LEFT - NAMES);
    let y = |value: f64| (HEIGHT - BOTTOM) - share(value, low, high) * (HEIGHT - BOTTOM - 8.0);
    let mut svg = open(HEIGHT, title);
    for tick in ticks(low, high, &[1.0, 3.0]) {
        line(&mut svg, (LEFT, y(tick)), (WIDTH - NAMES, y(tick)), "grid");
        text(&mut svg, (LEFT - 8.0, y(tick) + 4.0), "tick end", &y_unit(tick));
    }
    for tick in ticks(left, right, &[1.0, 3.0]) {
        line(&mut svg, (x(tick), 8.0), (x(tick), HEIGHT - BOTTOM), "grid");
        text(&mut svg, (x(tick), HEIGHT - BOTTOM + 16.0), "tick middle", &format!("{tick}"));
    }
    text(&mut svg, ((LEFT + WIDTH - NAMES) / 2.0, HEIGHT - 6.0), "label middle", x_title);
    // Names that would lie upon each other are moved apart, from the top.
    let mut ends: Vec<_> =
        curves.iter().filter_map(|curve| Some((y(curve.points.last()?.1), curve))).collect();
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut free = f64::MIN;
    for (at, Curve { class, name, points }) in ends {
        let path: Vec<_> =
            points.iter().map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1))).collect();
        let _ = writeln!(svg, "<polyline points=\"{}\" class=\"curve {class}\"/>", path.join(" "));
        for point in points {
            let tip = escape(&format!("{name}: {} at {}", y_unit(point.1), point.0));
            let (x, y) = (x(point.0), y(point.1));
            let _ = writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" class=\"{class}\"><title>{tip}</title></circle>"
            );
        }
        free = at.max(free + 15.0);
        text(&mut svg, (WIDTH - NAMES + 4.0, free + 4.0), "label start", name);
    }
    svg + "</svg>\n"
}

/// Round numbers between two numbers: these multiples of the powers of ten.
fn ticks(low: f64, high: f64, multiples: &[f64]) -> Vec<f64> {
    let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let all = powers.flat_map(|power| {
        // Dividing by a power of ten gives the nearest number to 0.01, multiplying by one that is not exact does not.
        multiples.iter().map(move |&multiple| match power {
            ..0 => multiple / 10_f64.powi(-power),
            _ => multiple * 10_f64.powi(power),
        })
    });
    all.filter(|tick| (low..=high).contains(tick)).collect()
}

#[cfg(test)]
mod tests {
    use super::ticks;

    #[test]
    fn ticks_are_round_and_within() {
        assert_eq!(ticks(0.04, 2.5, &[1.0, 5.0]), [0.05, 0.1, 0.5, 1.0]);
    }
}
