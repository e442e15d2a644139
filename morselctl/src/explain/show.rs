//! Explanations for people: objects by number in the order of the search, then a table of symbols, or all about one.

use super::bindings::{Defined, Name, Reference};
use super::{Explanation, Found, Tried};

/// Everything.
pub fn all(explanation: &Explanation) {
    objects(explanation);
    if explanation.symbols.is_empty() {
        return;
    }
    println!("symbols (numbers as above)");
    let rows: Vec<[String; 4]> = explanation.symbols.iter().flat_map(rows).collect();
    let heading = ["symbol", "provided by", "also in", "wanted by"].map(str::to_owned);
    let width = |column: usize| {
        let cells = rows.iter().chain([&heading]).map(|row| row[column].chars().count());
        // One name of a template shall not push everything out of sight.
        cells.filter(|&width| width <= 60).max().unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2)];
    for [symbol, provider, also, wanted] in [&heading].into_iter().chain(&rows) {
        println!("  {symbol:<0$}  {provider:<1$}  {also:<2$}  {wanted}", widths[0], widths[1], widths[2]);
    }
}

/// The one symbol that was asked for.
pub fn symbol(explanation: &Explanation) {
    let path = |number: usize| explanation.objects.get(number).map_or("?", |object| &object.path);
    for name in &explanation.symbols {
        println!("{}", name.name);
        for reference in &name.references {
            let provider =
                reference.provider.map_or_else(|| nobody(reference), |number| path(number).to_owned());
            println!(
                "  {}{} -> {provider}{}",
                path(reference.from),
                version(&reference.version),
                remarks(reference)
            );
        }
        if name.references.is_empty() {
            println!("  no relocation refers to it; dlsym would find the first definition");
        }
        for (place, Defined { object, version: defined, weak, kind }) in name.definitions.iter().enumerate() {
            let weak = if *weak { "weak " } else { "" };
            let rank = if place == 0 { "first" } else { "interposed" };
            println!("  {rank} definition: {}{}, {weak}{kind}", path(*object), version(defined));
        }
        if let Some((wanted, defined)) = mismatch(name) {
            println!(
                "  version {wanted} is asked for and {defined} taken: musl binds without looking at versions"
            );
        }
    }
    for missing in &explanation.missing {
        println!("  {}", missing.message);
    }
}

fn objects(explanation: &Explanation) {
    println!("{}", explanation.program);
    if let Some(interpreter) = &explanation.interpreter {
        println!("interpreter {interpreter}");
    }
    println!("objects, in the order in which they are searched for symbols");
    for (number, Found { path, role, needed_by, tried }) in explanation.objects.iter().enumerate() {
        let needed = needed_by.map_or_else(String::new, |by| format!(", needed by {by}"));
        println!("  {number:>3} {path} ({role}{needed})");
        show_tried(tried, "not");
    }
    for missing in &explanation.missing {
        println!("  --- {}", missing.message);
        show_tried(&missing.tried, "nor");
    }
}

fn show_tried(tried: &[Tried], word: &str) {
    for Tried { path, why } in tried {
        println!("        {word} {path}: {why}");
    }
}

/// A line for each provider of a name: a copy relocation takes a variable from where nobody else does.
fn rows(name: &Name) -> Vec<[String; 4]> {
    let mut rows: Vec<(&Reference, Vec<usize>)> = Vec::new();
    for reference in &name.references {
        match rows
            .iter_mut()
            .find(|(first, _)| first.provider == reference.provider && first.copy == reference.copy)
        {
            Some((_, from)) => from.push(reference.from),
            None => rows.push((reference, vec![reference.from])),
        }
    }
    let cells = rows.into_iter().map(|(reference, mut from)| {
        from.dedup();
        let provider = reference.provider.map_or_else(|| nobody(reference), |number| number.to_string());
        let provider = format!("{provider}{}", remarks(reference));
        let others = name.definitions.iter().map(|defined| defined.object);
        let others: Vec<usize> = others.filter(|&object| Some(object) != reference.provider).collect();
        [format!("{}{}", name.name, version(&reference.version)), provider, list(&others), list(&from)]
    });
    cells.collect()
}

fn list(numbers: &[usize]) -> String {
    numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(" ")
}

fn version(version: &Option<String>) -> String {
    version.as_ref().map_or_else(String::new, |version| format!("@{version}"))
}

fn nobody(reference: &Reference) -> String {
    if reference.weak { "nobody (weak)" } else { "nobody" }.to_owned()
}

fn remarks(reference: &Reference) -> String {
    let copy = if reference.copy { " (copied)" } else { "" };
    let other = reference.provided_as.as_ref().map_or_else(String::new, |name| format!(" (as {name})"));
    format!("{other}{copy}")
}

/// A version that is asked for, and the other one that is taken.
fn mismatch(name: &Name) -> Option<(&str, &str)> {
    let defined = name.definitions.first()?.version.as_deref()?;
    let wanted = name.references.iter().filter_map(|reference| reference.version.as_deref());
    wanted.into_iter().find(|wanted| *wanted != defined).map(|wanted| (wanted, defined))
}
