//! `morselctl explain`: what the loader would find for a program, and where. Discovery and lookup are the loader's own, over files
//! (`trace`); `bindings` asks them about every symbol, `versions` knows what musl does not look at.

mod bindings;
mod show;
mod trace;
mod versions;

use std::ffi::CStr;
use std::path::PathBuf;

use anyhow::{Result, bail};
use ld_morsel::discover::search;
use ld_morsel::error::StartError;
use ld_morsel::program::{Object, Origin};
use ld_morsel::sys::errno_text;
use serde::Serialize;

use crate::fuse::LoaderArgs;
use crate::image::Circumstances;
use bindings::{Bindings, Name};
use trace::{Discovered, Miss};

/// Options of the subcommand.
#[derive(clap::Args)]
pub struct Args {
    /// The program, or a library
    #[arg(value_hint = clap::ValueHint::FilePath)]
    program: PathBuf,
    /// Only this symbol
    symbol: Option<String>,
    #[command(flatten)]
    circumstances: Circumstances,
    /// Which ld-morsel stands in for the loader of a program that names another; by default the file beside this program
    #[command(flatten)]
    loader: LoaderArgs,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// What there is to tell.
#[derive(Serialize)]
struct Explanation {
    program: String,
    /// The interpreter that it names.
    interpreter: Option<String>,
    /// The objects in the order in which they are searched for symbols; their places are their numbers.
    objects: Vec<Found>,
    /// What could not be loaded.
    missing: Vec<Missing>,
    symbols: Vec<Name>,
}

/// An object of the program.
#[derive(Serialize)]
struct Found {
    path: String,
    role: &'static str,
    /// The number of the object that asked for it first.
    needed_by: Option<usize>,
    /// Where it was looked for before.
    tried: Vec<Tried>,
}

/// A library that is not there.
#[derive(Serialize)]
struct Missing {
    message: String,
    tried: Vec<Tried>,
}

/// A path at which nothing usable was.
#[derive(Serialize)]
struct Tried {
    path: String,
    why: &'static str,
}

/// The subcommand.
pub fn run(args: &Args) -> Result<()> {
    let discovered = trace::discover(&args.program, &args.circumstances, &args.loader)?;
    let explanation = explain(&discovered, args.symbol.as_deref())?;
    let unknown = |name: &Name| name.references.is_empty() && name.definitions.is_empty();
    if let Some(symbol) = args.symbol.as_ref().filter(|_| explanation.symbols.iter().all(unknown)) {
        bail!("{}: nobody refers to {symbol} or defines it", explanation.program);
    }
    match (args.json, args.symbol.is_some()) {
        (true, _) => println!("{}", serde_json::to_string_pretty(&explanation)?),
        (false, true) => show::symbol(&explanation),
        (false, false) => show::all(&explanation),
    }
    let open = explanation.symbols.iter().flat_map(|name| &name.references);
    let open = open.filter(|reference| reference.provider.is_none() && !reference.weak).count();
    if open + explanation.missing.len() > 0 {
        let libraries = explanation.missing.len();
        bail!("{}: {libraries} libraries and {open} references are not satisfied", explanation.program);
    }
    Ok(())
}

fn explain(discovered: &Discovered, symbol: Option<&str>) -> Result<Explanation> {
    let Discovered { program, errors, .. } = discovered;
    let bindings = Bindings::new(program);
    let objects = bindings.order.iter().map(|&id| {
        let object = &program[id];
        Found {
            path: text(&object.name),
            role: role(object),
            needed_by: object.needed_by.and_then(|id| bindings.number(id)),
            tried: tried(discovered, &object.name),
        }
    });
    let missing = errors.iter().map(|error| Missing {
        message: error.to_string(),
        tried: match error {
            StartError::Library { name, .. } => tried(discovered, name),
            _ => Vec::new(),
        },
    });
    Ok(Explanation {
        program: program.objects().next().map(|object| text(&object.name)).unwrap_or_default(),
        interpreter: program.objects().next().and_then(Object::interpreter).map(text),
        objects: objects.collect(),
        missing: missing.collect(),
        symbols: bindings.names(symbol)?,
    })
}

fn role(object: &Object) -> &'static str {
    match object.origin {
        Origin::Kernel => "program",
        Origin::File => "library",
        Origin::Libc => "libc",
        Origin::Loader => "loader",
        Origin::Vdso => "vdso",
    }
}

/// Where a library was looked for before it was found, or given up.
fn tried(discovered: &Discovered, name: &CStr) -> Vec<Tried> {
    let misses = discovered.misses.get(search::file_name(name));
    let told = |Miss { path, errno }: &Miss| Tried { path: text(path), why: errno_text(*errno) };
    misses.into_iter().flatten().map(told).collect()
}

fn text(text: &CStr) -> String {
    text.to_string_lossy().into_owned()
}
