//! The procedure linkage table: stubs that jump through a slot of the global offset table.
//!
//! The sections hold a stub for each imported function, and a head through which the first call goes if binding is lazy.
//! Link editors differ in what stands between the jumps, so it is the shape that is known, not a list of templates: besides the
//! jumps there are only pushes, the register that mold hands an index in, landing pads and padding.

use std::collections::BTreeMap;

use iced_x86::{Instruction, Mnemonic, OpKind, Register};
use ld_morsel::elf::Vaddr;

use super::Uncertain;
use super::decode::decoder;
use super::file::{File, Section};

/// The sections.
pub const SECTIONS: [&str; 4] = [".plt", ".plt.sec", ".plt.got", ".iplt"];

/// A stub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stub {
    /// Its jump.
    pub jump: Vaddr,
    /// The slot that the jump goes through.
    pub slot: Vaddr,
}

/// The stubs, by the addresses at which they may be called: before the landing pad (`endbr64`), and behind it.
pub fn stubs(file: &File<'_>) -> Result<BTreeMap<Vaddr, Stub>, Uncertain> {
    let mut stubs = BTreeMap::new();
    for section in file.sections.iter().filter(|section| SECTIONS.contains(&section.name)) {
        read(section, &mut stubs)?;
    }
    Ok(stubs)
}

fn read(section: &Section<'_>, stubs: &mut BTreeMap<Vaddr, Stub>) -> Result<(), Uncertain> {
    // Where the straight line begins that leads to the next jump; none while it pushes.
    let mut line: Option<Vec<Vaddr>> = Some(Vec::new());
    for instruction in decoder(section, section.range.start).iter() {
        let at = Vaddr(instruction.ip());
        match instruction.mnemonic() {
            Mnemonic::Jmp => {
                let entries = line.replace(Vec::new());
                if instruction.is_ip_rel_memory_operand() {
                    let stub = Stub { jump: at, slot: Vaddr(instruction.ip_rel_memory_address()) };
                    let entries = entries.into_iter().flat_map(|line| line.into_iter().chain([at]));
                    stubs.extend(entries.map(|entry| (entry, stub)));
                } else if instruction.op0_kind() != OpKind::NearBranch64 {
                    return Err(Uncertain::LinkageTable(at));
                }
            }
            Mnemonic::Push => line = None,
            Mnemonic::Endbr64 => line = Some(vec![at]),
            Mnemonic::Mov if is_index(&instruction) => line.iter_mut().for_each(|line| line.push(at)),
            Mnemonic::Nop | Mnemonic::Int3 => {}
            _ if instruction.len() == 2 && section_bytes(section, at) == [0, 0] => {}
            _ => return Err(Uncertain::LinkageTable(at)),
        }
    }
    Ok(())
}

fn is_index(instruction: &Instruction) -> bool {
    instruction.op0_register() == Register::R11D && instruction.op1_kind() == OpKind::Immediate32
}

fn section_bytes<'a>(section: &Section<'a>, at: Vaddr) -> &'a [u8] {
    let start = (at.0 - section.range.start.0) as usize;
    section.bytes.get(start..start + 2).unwrap_or(&[])
}
