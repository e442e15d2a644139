//! Prints which cases cover which point of the specification, as a Markdown table.

use std::collections::BTreeMap;

use anyhow::Result;
use difftest::case::discover;
use difftest::worlds::workspace_root;

fn main() -> Result<()> {
    let mut table: BTreeMap<(u32, String), Vec<String>> = BTreeMap::new();
    for case in discover(&workspace_root().join("tests/cases"))? {
        for point in &case.spec {
            // `beyond` sorts after every number.
            let key = (point.parse().unwrap_or(u32::MAX), point.clone());
            table.entry(key).or_default().push(format!("`{}`", case.name));
        }
    }
    println!("| point | cases |\n| --- | --- |");
    for ((_, point), names) in table {
        println!("| {point} | {} |", names.join(", "));
    }
    Ok(())
}
