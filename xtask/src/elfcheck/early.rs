//! What the loader runs before it has memory of its own (`src/start/x86_64.rs`): none of that may touch its data, nor call by way of
//! a table, as nothing is relocated. Neither the language nor the compiler knows of such a rule, so that the code itself is read:
//! all that direct calls and jumps lead to, and whose address is taken.

use std::collections::BTreeSet;
use std::ops::Range;

use anyhow::{Context, Result, bail};
use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind};
use object::read::elf::{FileHeader, SectionHeader, Sym};
use object::{Endianness, elf};

/// Where it begins.
const BEGINNINGS: [&str; 3] = ["5start6x86_645begin", "5start5leave5go_on", "5start6x86_6412provide_data"];

/// Who may call what an address leads to: debuggers are told that way.
const TELLS_DEBUGGERS: &str = BEGINNINGS[1];

/// Where it ends: what has the memory provided, and goes on with it.
const END: &str = "start6x86_644tell";

/// Panics. They do no harm: who panics is at an end anyway, with a message or without.
const PANICS: [&str; 6] = [
    "4core9panicking",
    "slice_index_fail",
    "expect_failed",
    "unwrap_failed",
    "capacity_overflow",
    "handle_alloc_error",
];

/// What takes memory: `Segments::are_few` and `Dynamic::names_few` have ruled out that it is called.
const MEMORY: [&str; 4] = ["BumpAllocator", "8smallvec", "7raw_vec", "slice4sort"];

/// The code, and what stands where.
struct Code<'a> {
    bytes: &'a [u8],
    /// Where they begin, and what their names are, in the order of addresses.
    functions: Vec<(u64, &'a str)>,
    /// Where executable sections end, likewise.
    ends: Vec<u64>,
    data: Range<u64>,
}

/// Why the rule is broken, if it is.
pub fn check(
    header: &elf::FileHeader64<Endianness>,
    endian: Endianness,
    bytes: &[u8],
    data: Range<u64>,
) -> Result<Option<String>> {
    let code = Code::read(header, endian, bytes, data)?;
    let mut open = Vec::new();
    for name in BEGINNINGS {
        let mut found = code.functions.iter().filter(|(_, function)| is_function(function, name));
        match (found.next(), found.next()) {
            (Some((start, _)), None) => open.push(*start),
            _ => bail!("there is not one function {name}"),
        }
    }
    let mut known: BTreeSet<u64> = open.iter().copied().collect();
    while let Some(start) = open.pop() {
        let (name, instructions) = code.function(start).context("a call leads to no function")?;
        for (place, instruction) in instructions.iter().enumerate() {
            if code.is_for_panic(&instructions[place..]) {
                continue;
            }
            if code.touches_data(instruction) {
                return Ok(Some(format!("{name} at {:#x}: {instruction:?}", instruction.ip())));
            }
            if instruction.flow_control() == FlowControl::IndirectCall && !name.contains(TELLS_DEBUGGERS) {
                return Ok(Some(format!("{name} at {:#x}: a call of nobody knows what", instruction.ip())));
            }
            let Some((target, function)) = code.target(instruction) else { continue };
            let ends = [END].iter().chain(&PANICS).chain(&MEMORY).any(|end| function.contains(end));
            if !ends && known.insert(target) {
                open.push(target);
            }
        }
    }
    Ok(None)
}

/// Whether a mangled name is that of the function at this path, rather than of a closure in it: behind the path stands nothing, or, in
/// the old style, a hash.
fn is_function(mangled: &str, path: &str) -> bool {
    mangled.split_once(path).is_some_and(|(_, rest)| rest.is_empty() || rest.starts_with("17h"))
}

impl<'a> Code<'a> {
    fn read(
        header: &elf::FileHeader64<Endianness>,
        endian: Endianness,
        bytes: &'a [u8],
        data: Range<u64>,
    ) -> Result<Self> {
        let sections = header.sections(endian, bytes)?;
        let symbols = sections.symbols(endian, bytes, elf::SHT_SYMTAB)?;
        let is_code = |section: &elf::SectionHeader64<Endianness>| {
            section.sh_flags(endian) & u64::from(elf::SHF_EXECINSTR) != 0
        };
        let code = sections.iter().filter(|section| is_code(section));
        let mut ends: Vec<u64> = code.map(|code| code.sh_addr(endian) + code.sh_size(endian)).collect();
        ends.sort_unstable();
        let mut functions = Vec::new();
        for symbol in symbols.iter().filter(|symbol| !symbol.is_undefined(endian)) {
            let name = std::str::from_utf8(symbol.name(endian, symbols.strings())?)?;
            let section = sections.iter().nth(usize::from(symbol.st_shndx(endian)));
            if section.is_some_and(is_code) && symbol.st_type() != elf::STT_SECTION && !name.is_empty() {
                functions.push((symbol.st_value(endian), name));
            }
        }
        functions.sort_unstable();
        functions.dedup_by_key(|(address, _)| *address);
        Ok(Self { bytes, functions, ends, data })
    }

    /// The name and the instructions of the function that begins at `start`. In the loader's file, what is at an address of memory
    /// is at that offset.
    fn function(&self, start: u64) -> Option<(&'a str, Vec<Instruction>)> {
        let place = self.functions.binary_search_by_key(&start, |(address, _)| *address).ok()?;
        let section_end = self.ends.iter().find(|end| start < **end)?;
        let end = self.functions.get(place + 1).map_or(*section_end, |(next, _)| *section_end.min(next));
        let bytes = self.bytes.get(start as usize..end as usize)?;
        let decoder = Decoder::with_ip(64, bytes, start, DecoderOptions::NONE);
        Some((self.functions[place].1, decoder.into_iter().collect()))
    }

    /// The function that a direct call or jump leads to, or whose address is taken.
    fn target(&self, instruction: &Instruction) -> Option<(u64, &'a str)> {
        let target = match instruction.flow_control() {
            FlowControl::Call | FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch => {
                instruction.near_branch_target()
            }
            _ if instruction.is_ip_rel_memory_operand() => instruction.ip_rel_memory_address(),
            _ => return None,
        };
        let place = self.functions.binary_search_by_key(&target, |(address, _)| *address).ok()?;
        Some(self.functions[place])
    }

    fn touches_data(&self, instruction: &Instruction) -> bool {
        let has_memory = (0..instruction.op_count()).any(|op| instruction.op_kind(op) == OpKind::Memory);
        has_memory
            && instruction.is_ip_rel_memory_operand()
            && self.data.contains(&instruction.ip_rel_memory_address())
    }

    /// Whether the first of these instructions takes an address for a panic: it leads straight to the call of one.
    fn is_for_panic(&self, instructions: &[Instruction]) -> bool {
        let goes_on = |instruction: &&Instruction| instruction.flow_control() == FlowControl::Next;
        let call = instructions.iter().find(|instruction| !goes_on(instruction));
        let call =
            call.filter(|call| call.flow_control() == FlowControl::Call).and_then(|call| self.target(call));
        instructions[0].mnemonic() == Mnemonic::Lea
            && call.is_some_and(|(_, function)| PANICS.iter().any(|panic| function.contains(panic)))
    }
}
