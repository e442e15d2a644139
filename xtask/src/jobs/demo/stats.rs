//! Shows the JSON object that the loader writes for `LD_MORSEL_STATS`, whatever its keys are: scalars as one table, each
//! list of objects as a table of its own. A key that ends in `_ns` says that nanoseconds are in it.

use serde_json::{Map, Value};

use crate::ui;

/// Prints the object.
pub fn print(value: &Value) {
    let mut scalars = ui::Table::new(&["", ""]);
    let mut lists = Vec::new();
    collect(String::new(), value, &mut scalars, &mut lists);
    scalars.print();
    for (name, objects) in lists {
        println!("\n  {name}:");
        list(&objects);
    }
}

type List<'a> = (String, Vec<&'a Map<String, Value>>);

fn collect<'a>(name: String, value: &'a Value, scalars: &mut ui::Table, lists: &mut Vec<List<'a>>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let below = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                collect(below, value, scalars, lists);
            }
        }
        Value::Array(values) if !values.is_empty() && values.iter().all(Value::is_object) => {
            lists.push((name, values.iter().filter_map(Value::as_object).collect()));
        }
        _ => {
            let text = scalar(&name, value);
            scalars.row([name.replace("_ns", ""), text]);
        }
    }
}

/// Objects as rows, their keys as columns.
fn list(objects: &[&Map<String, Value>]) {
    let mut keys: Vec<&str> = Vec::new();
    for key in objects.iter().flat_map(|object| object.keys()) {
        if !keys.contains(&key.as_str()) {
            keys.push(key);
        }
    }
    let mut table = ui::Table::new(&keys);
    for object in objects {
        table.row(
            keys.iter().map(|key| object.get(*key).map_or_else(String::new, |value| scalar(key, value))),
        );
    }
    table.print();
}

fn scalar(name: &str, value: &Value) -> String {
    let is = |what: &str| name.split('.').any(|key| key == what || key.ends_with(&format!("_{what}")));
    match (value, value.as_u64()) {
        (Value::Null, _) => "-".to_owned(),
        (Value::String(text), _) => shortened(text),
        (_, Some(number)) if is("ns") => ui::micros(number as f64 / 1e3),
        (_, Some(number)) if is("bytes") => format!("{} KiB", number.div_ceil(1024)),
        (_, Some(number)) if is("address") => format!("{number:#x}"),
        (Value::Object(map), _) => {
            let parts = map.iter().map(|(key, value)| format!("{key} {}", scalar(key, value)));
            parts.collect::<Vec<_>>().join(", ")
        }
        _ => value.to_string(),
    }
}

/// Long paths without their folders.
fn shortened(text: &str) -> String {
    match text.rsplit_once('/') {
        Some((_, file)) if text.len() > 30 => format!(".../{file}"),
        _ => text.to_owned(),
    }
}
