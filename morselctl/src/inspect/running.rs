//! `morselctl inspect --running`: what the kernel has made of an image in a process: which pages are mapped by huge pages, and which the
//! process has of its own.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use object::{Object as _, ObjectSection as _};
use serde::Serialize;

use crate::image::ImageFile;

use super::kib;

/// A mapping of an image in a process. Sizes are in bytes.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Mapping {
    start: u64,
    end: u64,
    access: String,
    /// The image.
    image: PathBuf,
    /// Where in the file it begins.
    offset: u64,
    /// The libraries, and what of them, that it holds.
    parts: Vec<String>,
    /// Mapped at present.
    resident: u64,
    /// Of these, what only this process has: written to, as a rule.
    private: u64,
    /// Of these, what huge pages map (FilePmdMapped, ShmemPmdMapped, AnonHugePages).
    huge: u64,
}

/// A section of an image that is mapped.
struct Section {
    name: String,
    /// Where in the file it is.
    file: Range<u64>,
}

/// The images of a process, mapping by mapping.
///
/// # Errors
/// There is no such process, it is somebody else's, or it has no image.
pub fn mappings(process: u32) -> Result<Vec<Mapping>> {
    let path = PathBuf::from(format!("/proc/{process}/smaps"));
    let smaps = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut images: Vec<(PathBuf, Option<Vec<Section>>)> = Vec::new();
    let mut found = Vec::new();
    for mut mapping in parse(&smaps).with_context(|| format!("{} makes no sense", path.display()))? {
        if !mapping.image.is_absolute() {
            continue;
        }
        if !images.iter().any(|(known, _)| *known == mapping.image) {
            images.push((mapping.image.clone(), image_of(process, &mapping)?));
        }
        let image =
            images.iter().find(|(known, _)| *known == mapping.image).and_then(|(_, file)| file.as_ref());
        let Some(image) = image else { continue };
        mapping.parts = parts(image, &(mapping.offset..mapping.offset + (mapping.end - mapping.start)));
        found.push(mapping);
    }
    if found.is_empty() {
        bail!("process {process} has no image");
    }
    Ok(found)
}

/// The sections of the file behind a mapping if it is an image. It may have another name by now, or none: the kernel knows it.
fn image_of(process: u32, mapping: &Mapping) -> Result<Option<Vec<Section>>> {
    let path = format!("/proc/{process}/map_files/{:x}-{:x}", mapping.start, mapping.end);
    let path = Path::new(&path);
    // Devices and the like are not read.
    if !fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
        || ImageFile::read(path).ok().flatten().is_none()
    {
        return Ok(None);
    }
    let name = || mapping.image.display().to_string();
    let bytes = fs::read(path).with_context(name)?;
    let file = object::File::parse(&bytes[..]).with_context(name)?;
    let sections = file.sections().filter(|section| section.address() != 0).filter_map(|section| {
        let (start, size) = section.file_range()?;
        Some(Section { name: section.name().ok()?.to_owned(), file: start..start + size })
    });
    Ok(Some(sections.collect()))
}

/// The sections that lie in a part of the file.
fn parts(image: &[Section], file: &Range<u64>) -> Vec<String> {
    let within = |section: &&Section| section.file.start < file.end && file.start < section.file.end;
    image.iter().filter(within).map(|section| section.name.clone()).collect()
}

/// What `smaps` tells of each mapping; `None` if it is something else.
fn parse(smaps: &str) -> Option<Vec<Mapping>> {
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        let first = words.next()?;
        match first.strip_suffix(':') {
            None => {
                let (start, end) = first.split_once('-')?;
                let hexadecimal = |text| u64::from_str_radix(text, 16).ok();
                let (access, offset) = (words.next()?.to_owned(), hexadecimal(words.next()?)?);
                // Names may have spaces.
                let path = line.splitn(6, ' ').nth(5).unwrap_or_default().trim_start();
                let (start, end) = (hexadecimal(start)?, hexadecimal(end)?);
                mappings.push(Mapping {
                    start,
                    end,
                    access,
                    offset,
                    image: path.into(),
                    ..Mapping::default()
                });
            }
            Some(name) => {
                let mapping = mappings.last_mut()?;
                let field = match name {
                    "Rss" => &mut mapping.resident,
                    "Private_Dirty" | "Anonymous" => &mut mapping.private,
                    "FilePmdMapped" | "ShmemPmdMapped" | "AnonHugePages" => &mut mapping.huge,
                    _ => continue,
                };
                let bytes = words.next()?.parse::<u64>().ok()? * 1024;
                *field = match name {
                    "Private_Dirty" | "Anonymous" => bytes.max(*field),
                    _ => bytes + *field,
                };
            }
        }
    }
    Some(mappings)
}

/// Shows them to people.
pub fn show(process: u32, mappings: &[Mapping]) {
    println!("process {process}");
    let mut image = Path::new("");
    for mapping in mappings {
        if mapping.image != image {
            image = &mapping.image;
            println!("{}", image.display());
        }
        println!(
            "  {:#x}-{:#x} {} {:>9} in memory, {:>9} private, {:>9} huge  {}",
            mapping.start,
            mapping.end,
            mapping.access,
            kib(mapping.resident),
            kib(mapping.private),
            kib(mapping.huge),
            shorten(&mapping.parts),
        );
    }
    let sum = |bytes: fn(&Mapping) -> u64| kib(mappings.iter().map(bytes).sum());
    let (resident, private) = (sum(|mapping| mapping.resident), sum(|mapping| mapping.private));
    println!("  in all {resident} in memory, {private} private, {} huge", sum(|mapping| mapping.huge));
}

fn shorten(parts: &[String]) -> String {
    match parts {
        [first, .., last] if parts.len() > 3 => format!("{first} ... {last} ({} parts)", parts.len()),
        _ => parts.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smaps_is_read_with_names_that_have_spaces() {
        let smaps = "1000-3000 r-xp 00002000 fe:00 12    /a b/image\nSize:  8 kB\nRss:  8 kB\nAnonymous:  4 kB\n\
                     Private_Dirty: 0 kB\nFilePmdMapped: 2048 kB\nVmFlags: rd ex mr\n4000-5000 rw-p 00000000 00:00 0 \n";
        let read = parse(smaps).expect("smaps");
        assert_eq!((read[0].start, read[0].end, read[0].offset), (0x1000, 0x3000, 0x2000));
        assert_eq!((read[0].image.as_path(), read[0].access.as_str()), (Path::new("/a b/image"), "r-xp"));
        assert_eq!((read[0].resident, read[0].private, read[0].huge), (8192, 4096, 2 << 20));
        assert_eq!(read[1].image, Path::new(""));
        assert!(parse("nonsense\n").is_none());
    }
}
