//! The report: one HTML file without anything beside it, for a light and a dark screen.

use std::fmt::Write;

use anyhow::Result;

use super::chart::{self, Curve, Ratio, class_of, escape};
use super::profile;
use super::results::{Column, Measured, Results, Time};
use super::workload::Series;
use crate::ui;

/// The page. Writing to a String cannot fail, hence the results that are not looked at.
pub fn html(results: &Results) -> Result<String> {
    let standard: Vec<_> = results.workloads.iter().filter(|workload| workload.series.is_none()).collect();
    let mut body = String::new();
    let _ = write!(
        body,
        "<h1>What a start costs</h1>\n<p class=\"soft\">{}<br>loader: {}</p>\n\
         <p>Every program is started by each loader in turn, round after round, so that whatever disturbs the machine \
         disturbs all alike. Absolute times belong to this machine; the ratios are what to trust. Calls, faults, memory \
         and instructions are counted until main is reached.</p>\n",
        escape(&results.machine),
        escape(&results.loader)
    );
    if !standard.is_empty() {
        let _ = write!(body, "<h2>At a glance</h2>\n{}", glance(&standard));
    }
    for series in [Series::Libraries, Series::Relocations] {
        body += &scaling(results, series);
    }
    body += &phases(&standard);
    body += &flames(&standard)?;
    if !standard.is_empty() {
        let _ = writeln!(body, "<h2>All figures</h2>");
        standard.iter().for_each(|workload| body += &table(workload));
    }
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>ld-morsel: what a start costs</title>\n<style>\n{}</style></head>\n<body><main>\n{body}</main></body></html>\n",
        include_str!("report.css")
    ))
}

fn glance(workloads: &[&Measured]) -> String {
    let mut peers: Vec<&str> = Vec::new();
    let mut groups = Vec::new();
    let names: Vec<Vec<String>> = workloads
        .iter()
        .map(|workload| workload.peers.iter().map(|peer| class_of(&peer.peer)).collect())
        .collect();
    for (workload, classes) in workloads.iter().zip(&names) {
        let mut bars = Vec::new();
        // The first is the reference: its bar would have no length.
        for (column, class) in workload.peers.iter().zip(classes).skip(1) {
            let Some(Time { ratio, .. }) = column.main else { continue };
            bars.push(Ratio {
                class,
                name: &column.peer,
                ratio: ratio.ratio,
                interval: (ratio.low, ratio.high),
            });
            if !peers.contains(&column.peer.as_str()) {
                peers.push(&column.peer);
            }
        }
        groups.push((workload.name.as_str(), bars));
    }
    let reference = workloads.first().and_then(|workload| workload.peers.first());
    let reference = reference.map_or("", |column| column.peer.as_str());
    figure(
        &format!(
            "From exec to main, compared with {reference}: bars to the left take less time, bars to the right more. The \
             thin line is the interval of 95 %."
        ),
        &format!("{}{}", legend(&peers), chart::ratios("From exec to main", &groups)),
    )
}

fn scaling(results: &Results, series: Series) -> String {
    let points: Vec<_> =
        results.workloads.iter().filter(|workload| workload.series == Some(series)).collect();
    let Some(first) = points.first() else { return String::new() };
    let classes: Vec<_> = first.peers.iter().map(|column| class_of(&column.peer)).collect();
    let curves: Vec<_> = first
        .peers
        .iter()
        .zip(&classes)
        .map(|(column, class)| {
            let point = |workload: &&Measured| {
                let size = workload.size?;
                let x = if series == Series::Libraries { size.libraries } else { size.symbolic };
                Some((x as f64, workload.column(&column.peer)?.main?.time.median_us))
            };
            Curve { class, name: &column.peer, points: points.iter().filter_map(point).collect() }
        })
        .filter(|curve| curve.points.len() > 1)
        .collect();
    let (title, axis, caption) = match series {
        Series::Libraries => (
            "How it grows with libraries",
            "libraries",
            "Libraries of 200 exports, of which each imports 20 through data. Time from exec to main.",
        ),
        Series::Relocations => (
            "How it grows with relocations",
            "relocations against symbols",
            "30 libraries of 1000 exports with more and more imports through data. Time from exec to main.",
        ),
    };
    format!("<h2>{title}</h2>\n{}", figure(caption, &chart::curves(title, axis, &curves, ui::micros)))
}

fn phases(workloads: &[&Measured]) -> String {
    let rows: Vec<_> = workloads
        .iter()
        .filter_map(|workload| {
            let column = workload.peers.iter().find(|column| !column.phases.is_empty())?;
            Some((workload.name.as_str(), column.phases.clone()))
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let svg = chart::shares("Phases of the loader", &rows, ui::micros);
    let caption = "What the loader says of itself (LD_MORSEL_STATS): shares of its time, and the total.";
    format!("<h2>Phases of the loader</h2>\n{}", figure(caption, &svg))
}

fn flames(workloads: &[&Measured]) -> Result<String> {
    let mut html = String::new();
    for workload in workloads {
        for column in workload.peers.iter().filter(|column| !column.stacks.is_empty()) {
            let title = format!("{} under {}", workload.name, column.peer);
            let svg = profile::flame_graph(&title, "instructions", &column.stacks)?;
            // A frame of its own: both graphs bring a script that finds its parts by name.
            let height =
                svg.split("height=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("400");
            let _ = writeln!(
                html,
                "<figure><figcaption>{}</figcaption><iframe class=\"flame\" title=\"{}\" height=\"{height}\" \
                 srcdoc=\"{}\"></iframe></figure>",
                escape(&title),
                escape(&title),
                escape(&format!("<body style=\"margin:0\">{}", from_svg(&svg)))
            );
        }
    }
    if html.is_empty() {
        return Ok(html);
    }
    let how = "Instructions until main by function, counted by callgrind: the wider, the more. Click to enlarge a part, \
               Ctrl-F to search. Functions that the compiler has merged into others do not appear. For stock musl, the \
               same source with symbols.";
    Ok(format!("<h2>Where instructions go</h2>\n<p class=\"soft\">{how}</p>\n{html}"))
}

/// A document's element without what stands before it, which HTML does not know.
fn from_svg(document: &str) -> &str {
    document.find("<svg").map_or(document, |start| &document[start..])
}

fn table(workload: &Measured) -> String {
    let mut rows = String::new();
    for column in &workload.peers {
        let name = format!(
            "<span class=\"{}\"><span class=\"swatch\"></span></span>{}",
            class_of(&column.peer),
            escape(&column.peer)
        );
        let class = if column.peer == "ours" { " class=\"ours\"" } else { "" };
        let _ = match &column.absent {
            Some(why) => writeln!(
                rows,
                "<tr{class}><td>{name}</td><td class=\"absent\" colspan=\"12\">{}</td></tr>",
                escape(why.lines().next().unwrap_or_default())
            ),
            None => writeln!(rows, "<tr{class}><td>{name}</td>{}</tr>", cells(column)),
        };
    }
    format!(
        "<div class=\"card\"><h3>{}</h3><p class=\"soft\">{}; {} rounds</p><div class=\"scroll\"><table>\n\
         <tr><th></th><th>to main</th><th>ratio</th><th>of least</th><th>to exit</th><th>ratio</th><th>of least</th><th>calls</th><th>faults</th>\
         <th>dirtied</th><th>page tables</th><th>instructions</th><th>in guest</th></tr>\n{rows}</table></div></div>\n",
        escape(&workload.name),
        escape(&workload.what),
        workload.rounds
    )
}

fn cells(column: &Column) -> String {
    let mut cells = String::new();
    for time in [&column.main, &column.exit] {
        let _ = match time {
            Some(Time { time, ratio, least }) => {
                // Only what is surely less or more is coloured.
                let class = match ratio {
                    _ if ratio.high < 1.0 => "less",
                    _ if ratio.low > 1.0 => "more",
                    _ => "",
                };
                let (time, ratio) = (time.text(), ratio.text());
                write!(cells, "<td>{time}</td><td class=\"{class}\">{ratio}</td><td>{least:.3}</td>")
            }
            None => write!(cells, "<td>–</td><td>–</td><td>–</td>"),
        };
    }
    let main = column.counts.and_then(|counts| counts.main);
    let memory = column.counts.and_then(|counts| counts.memory);
    let instructions = column.instructions.and_then(|counted| counted.main);
    let figures = [
        (main.map(|main| main.system_calls), ""),
        (main.map(|main| main.page_faults), ""),
        (memory.map(|memory| memory.dirtied), " KiB"),
        (memory.map(|memory| memory.page_tables), " KiB"),
        (instructions, ""),
        (column.guest_instructions, ""),
    ];
    for (figure, unit) in figures {
        let _ = match figure {
            Some(figure) => write!(cells, "<td>{}{unit}</td>", ui::grouped(figure)),
            None => write!(cells, "<td>–</td>"),
        };
    }
    cells
}

fn legend(peers: &[&str]) -> String {
    let entry = |peer: &&str| {
        format!(
            "<span><span class=\"{}\"><span class=\"swatch\"></span></span>{}</span>",
            class_of(peer),
            escape(peer)
        )
    };
    format!("<div class=\"legend\">{}</div>\n", peers.iter().map(entry).collect::<String>())
}

fn figure(caption: &str, content: &str) -> String {
    format!("<figure><figcaption>{}</figcaption>\n{content}</figure>\n", escape(caption))
}
