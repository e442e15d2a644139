//! `morselctl inspect`: the regions of libraries, how much of each can be shared by page tables, and why not more. Images
//! are shown by `image`, what a process has of its image by `running`.
//!
//! `share` finds that out; here it is shown, to people as a table and to scripts as JSON.

mod code;
mod running;
mod share;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde::Serialize;
use serde_json::Value;

use crate::elf_file::ElfFile;
use crate::image::{self, ImageFile};
use share::Segment;

/// Options of the subcommand.
#[derive(clap::Args)]
pub struct Args {
    /// Libraries, programs or images
    #[arg(required_unless_present = "running", value_name = "FILE")]
    libraries: Vec<PathBuf>,
    /// Say instead which pages of its image a process has of its own, and which are huge
    #[arg(long, value_name = "PID", conflicts_with_all = ["libraries", "code"])]
    running: Option<u32>,
    /// Say instead whether the code can be read with certainty, and whether the segments could be moved apart
    #[arg(long)]
    code: bool,
    /// Print a JSON array with an object for each library
    #[arg(long)]
    json: bool,
}

/// What is known of a library.
#[derive(Serialize)]
struct Library<'a> {
    path: &'a Path,
    /// Bytes of the file.
    file_size: u64,
    /// Bytes of address space.
    address_space: u64,
    /// Where it must begin within 2 MiB so that most is shared, in bytes.
    base_offset: u64,
    /// Bytes, in whole pages, that all processes read alike.
    read_only: u64,
    /// Bytes of these in page tables that can be shared.
    shareable: u64,
    /// Whether that is all of them.
    fully_shareable: bool,
    segments: Vec<Segment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'static str>,
}

/// What a library that is not fully shareable needs.
const ADVICE: &str = "link it with ld-morsel's linker scripts (linker-scripts/README.md): read-only data and code in one \
                      segment at a multiple of 2 MiB, everything writable far away";

/// What a library needs whose code is changed by relocation.
const TEXT_RELOCATIONS: &str = "compile it with -fPIC: it has relocations in its code (DT_TEXTREL), so that each process \
                                has its own copy";

/// The subcommand.
pub fn run(args: &Args) -> Result<()> {
    if let Some(process) = args.running {
        let mappings = running::mappings(process)?;
        match args.json {
            true => println!("{}", serde_json::to_string_pretty(&mappings)?),
            false => running::show(process, &mappings),
        }
        return Ok(());
    }
    let mut failed = 0;
    let mut described = Vec::new();
    for path in &args.libraries {
        match inspect(path, args) {
            Ok(json) => described.extend(json),
            Err(error) => {
                eprintln!("morselctl: {error:#}");
                failed += 1;
            }
        }
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&described)?);
    }
    if failed > 0 {
        bail!("{failed} of {} files could not be inspected", args.libraries.len());
    }
    Ok(())
}

/// Shows a file, or describes it as JSON.
fn inspect(path: &Path, args: &Args) -> Result<Option<Value>> {
    let json = args.json;
    if args.code {
        let (file, _) = ElfFile::read(path)?;
        let report = code::describe(&file);
        if json {
            return Ok(Some(serde_json::to_value(report)?));
        }
        code::show(&report);
        return Ok(None);
    }
    if let Some(image) = ImageFile::read(path)? {
        return if json { image::to_json(&image).map(Some) } else { image::show(&image).map(|()| None) };
    }
    let (file, _) = ElfFile::read(path)?;
    let library = describe(&file)?;
    if json {
        return Ok(Some(serde_json::to_value(library)?));
    }
    show(&library);
    Ok(None)
}

fn describe(file: &ElfFile) -> Result<Library<'_>> {
    let text_relocations = file.dynamic()?.text_relocations;
    let share::Sharing { base_offset, segments } = share::of(file, text_relocations);
    let span = file.segments.span();
    let sum = |bytes: fn(&Segment) -> u64| segments.iter().map(bytes).sum::<u64>();
    let (read_only, shareable) = (sum(Segment::read_only), sum(|segment| segment.shareable));
    let fully_shareable = read_only == shareable;
    let advice = match (fully_shareable, text_relocations) {
        (true, _) => None,
        (false, true) => Some(TEXT_RELOCATIONS),
        (false, false) => Some(ADVICE),
    };
    Ok(Library {
        path: &file.path,
        file_size: file.bytes.len() as u64,
        address_space: span.end.0 - span.start.0,
        base_offset,
        read_only,
        shareable,
        fully_shareable,
        segments,
        advice,
    })
}

fn show(library: &Library<'_>) {
    println!("{}", library.path.display());
    for segment in &library.segments {
        println!(
            "  {:#12x}  {:<4} {:>9}  {:<8} {:>9} shareable{}{}",
            segment.address,
            segment.access,
            kib(segment.memory),
            segment.class.name(),
            kib(segment.shareable),
            if segment.why_not.is_empty() { "" } else { ": " },
            segment.why_not.join("; "),
        );
    }
    let all = if library.fully_shareable { "all" } else { "in all" };
    println!(
        "  {all} {} of {} read-only can be shared by page tables; file {}, address space {}",
        kib(library.shareable),
        kib(library.read_only),
        kib(library.file_size),
        kib(library.address_space),
    );
    if let Some(advice) = library.advice {
        println!("  To share more, {advice}.");
    }
}

/// Bytes as people read them.
fn kib(bytes: u64) -> String {
    format!("{} KiB", bytes.div_ceil(1024))
}
