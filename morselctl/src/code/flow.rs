//! Where values come from: the instructions of a function, followed backwards from where a register is used.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use iced_x86::{
    ConditionCode, FlowControl, Instruction, InstructionInfoFactory, MemorySize, Mnemonic, OpAccess, OpKind,
    Register,
};
use ld_morsel::elf::Vaddr;

use super::decode::{decoder, is_padding};
use super::{Code, Uncertain, reference};

/// What has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Operand {
    /// A general register, all of it.
    Register(Register),
    /// Memory: base, index, scale, displacement.
    Memory(Register, Register, u32, u64),
}

/// What the flags say of a number when control arrives: it is less than what it was compared with, or not more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Limit {
    Less,
    AtMost,
}

/// A value before an instruction, by its number.
type Use = (usize, Operand);

/// The instructions of functions that belong together.
pub struct Flow {
    instructions: Vec<Instruction>,
    /// From where else control comes to an address than from the instruction before.
    sources: HashMap<u64, Vec<usize>>,
    /// Where control enters.
    entries: HashSet<u64>,
    /// Whether all ways are known: where none leads to then, an exception does.
    complete: bool,
}

impl Flow {
    /// Reads functions; `group` says where they are, in order.
    pub fn new(code: &Code<'_>, group: &[Range<Vaddr>]) -> Self {
        let mut instructions = Vec::new();
        for function in group {
            let Some(section) = code.section_at(function.start) else { continue };
            let mut decoder = decoder(section, function.start);
            while decoder.ip() < function.end.0 {
                let instruction = decoder.decode();
                if code.begins(Vaddr(instruction.ip())) {
                    instructions.push(instruction);
                }
            }
        }
        let entries = group.iter().map(|function| function.start.0).collect();
        Self { instructions, sources: HashMap::new(), entries, complete: false }
    }

    /// The instructions, in their order.
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// Whether one of them begins at an address, or jumps there.
    pub fn has(&self, at: Vaddr) -> bool {
        self.holds(at) || self.sources.contains_key(&at.0)
    }

    /// Whether one of them begins at an address.
    pub fn holds(&self, at: Vaddr) -> bool {
        self.instructions.binary_search_by_key(&at.0, Instruction::ip).is_ok()
    }

    /// Makes known where direct jumps lead, which all that follows needs.
    pub fn connect_jumps(&mut self) {
        let jumps = self.instructions.iter().enumerate();
        let jumps = jumps.filter(|(_, jump)| jump.op0_kind() == OpKind::NearBranch64);
        let jumps = jumps.filter(|(_, jump)| jump.flow_control() != FlowControl::Call);
        let edges: Vec<_> = jumps.map(|(index, jump)| (index, jump.near_branch_target())).collect();
        self.connect(edges);
    }

    /// Adds ways from instructions to addresses; whether one of them is new.
    pub fn connect(&mut self, edges: impl IntoIterator<Item = (usize, u64)>) -> bool {
        let mut new = false;
        for (from, to) in edges {
            let sources = self.sources.entry(to).or_default();
            if !sources.contains(&from) {
                sources.push(from);
                new = true;
            }
        }
        new
    }

    /// No way is missing any more.
    pub fn complete(&mut self) {
        self.complete = true;
    }

    /// Whether no way is missing.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// The tables by which a branch to a register gets its target, each with the number of its entries if a comparison tells it. What
    /// the register has otherwise has been loaded, or is an argument or a result.
    ///
    /// # Errors
    /// It may also have been computed in another way.
    pub fn tables(&self, branch: usize, register: Register) -> Result<Vec<(Vaddr, Option<u64>)>, Uncertain> {
        let computed = |cause| Uncertain::Computed(Vaddr(self.instructions[branch].ip()), cause);
        let mut tables = Vec::new();
        for definition in self.definitions(branch, register) {
            let instruction = &self.instructions[definition];
            match instruction.mnemonic() {
                Mnemonic::Mov | Mnemonic::Movq | Mnemonic::Pop | Mnemonic::Call => {}
                Mnemonic::Lea if instruction.is_ip_rel_memory_operand() => {}
                _ if instruction.op0_register().is_gpr32() => {} // no address
                _ => {
                    let terms = sum(instruction).ok_or_else(|| computed("in an unknown way"))?;
                    let table = self
                        .table(definition, terms)
                        .or_else(|| self.table(definition, [terms[1], terms[0]]));
                    tables.push(table.ok_or_else(|| computed("and not by a jump table"))?);
                }
            }
        }
        Ok(tables)
    }

    /// A table's address and the number of its entries, if the sum of two registers is that of the address and an entry.
    fn table(&self, at: usize, [base, entry]: [Register; 2]) -> Option<(Vaddr, Option<u64>)> {
        let table = self.address(at, base)?;
        let loads = self.definitions(at, entry);
        let indices: Option<Vec<_>> = loads.iter().map(|&load| self.index_of(load, table)).collect();
        let indices = indices.filter(|indices| !indices.is_empty())?;
        let counts = indices.into_iter().map(|(at, index)| self.bound(at, index));
        Some((table, counts.reduce(|most, one| Some(most?.max(one?))).flatten()))
    }

    /// The register that numbers the entry which an instruction loads from a table, and where it does.
    fn index_of(&self, load: usize, table: Vaddr) -> Option<(usize, Register)> {
        let instruction = &self.instructions[load];
        let (op, memory) = (instruction.mnemonic(), instruction.memory_size());
        if op == Mnemonic::Cdqe || op == Mnemonic::Movsxd && instruction.op1_kind() == OpKind::Register {
            let narrow =
                if op == Mnemonic::Cdqe { Register::RAX } else { instruction.op1_register().full_register() };
            return match self.definitions(load, narrow)[..] {
                [wide] if self.instructions[wide].op0_register().is_gpr32() => self.index_of(wide, table),
                _ => None,
            };
        }
        let is_load = op == Mnemonic::Movsxd && memory == MemorySize::Int32
            || op == Mnemonic::Mov
                && memory == MemorySize::UInt32
                && instruction.op1_kind() == OpKind::Memory;
        if !is_load || instruction.memory_displacement64() != 0 {
            return None;
        }
        let (base, index) = (instruction.memory_base(), instruction.memory_index());
        let leads = |register| self.address(load, register) == Some(table);
        match instruction.memory_index_scale() {
            4 if leads(base) => Some((load, index)),
            1 if leads(base) => self.scaled(load, index),
            1 if leads(index) => self.scaled(load, base),
            _ => None,
        }
    }

    /// The register that another one is four times as large as.
    fn scaled(&self, at: usize, register: Register) -> Option<(usize, Register)> {
        let [definition] = self.definitions(at, register)[..] else { return None };
        let lea = &self.instructions[definition];
        let scales = lea.mnemonic() == Mnemonic::Lea
            && lea.memory_base() == Register::None
            && lea.memory_index_scale() == 4
            && lea.memory_displacement64() == 0;
        scales.then(|| (definition, lea.memory_index()))
    }

    /// The address that a register has, if it is always the same.
    fn address(&self, at: usize, register: Register) -> Option<Vaddr> {
        let definitions = self.definitions(at, register);
        let addresses = definitions.iter().map(|&definition| {
            let lea = &self.instructions[definition];
            let is_address = lea.mnemonic() == Mnemonic::Lea && lea.is_ip_rel_memory_operand();
            is_address.then(|| Vaddr(lea.ip_rel_memory_address()))
        });
        addresses.reduce(|one, other| one.filter(|_| one == other))?
    }

    /// The instructions that may have given a register its value, copies apart. What a caller has left in it is nothing that
    /// leads to a table, since no function gets such a thing.
    fn definitions(&self, at: usize, register: Register) -> Vec<usize> {
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        let mut pending = vec![(at, register)];
        while let Some((at, register)) = pending.pop() {
            for before in self.before(at).into_iter().flatten() {
                let instruction = &self.instructions[before];
                let copied = instruction.op1_register();
                if !changes(instruction, register) {
                    pending.extend(Some((before, register)).filter(|one| seen.insert(*one)));
                } else if instruction.mnemonic() == Mnemonic::Mov && copied.is_gpr64() {
                    pending.extend(Some((before, copied)).filter(|one| seen.insert(*one)));
                } else if is_conditional_move(instruction) && instruction.op0_register().is_gpr64() {
                    let sources = [register, copied].into_iter().filter(|source| source.is_gpr64());
                    pending.extend(sources.map(|source| (before, source)).filter(|one| seen.insert(*one)));
                } else if !found.contains(&before) {
                    found.push(before);
                }
            }
        }
        found
    }

    /// Less than this a number must be for control to come to where a register has it.
    fn bound(&self, at: usize, register: Register) -> Option<u64> {
        let mut seen = HashSet::new();
        let mut pending: Vec<(Use, Option<Limit>)> = vec![((at, Operand::Register(register)), None)];
        let mut most = None;
        while let Some(((at, operand), limit)) = pending.pop() {
            for before in self.before(at)? {
                let instruction = &self.instructions[before];
                let limit = match limit_by(instruction, self.follows(before, at)) {
                    None if instruction.rflags_modified() != 0 || is_call(instruction) => {
                        let compared = limit.filter(|_| compares(instruction, operand));
                        if let Some(bound) = compared.and_then(|limit| bound_of(instruction, limit)) {
                            most = most.max(Some(bound));
                            continue;
                        }
                        None
                    }
                    new => new.or(limit),
                };
                if let Some(bound) = mask(instruction, operand) {
                    most = most.max(Some(bound));
                    continue;
                }
                let next = ((before, origin(instruction, operand)?), limit);
                pending.extend(Some(next).filter(|next| seen.insert(*next)));
            }
        }
        most
    }

    /// Where control may come from; `None` from a caller.
    fn before(&self, at: usize) -> Option<Vec<usize>> {
        let instruction = &self.instructions[at];
        if self.entries.contains(&instruction.ip()) {
            return None;
        }
        let falls = at.checked_sub(1).filter(|&before| self.follows(before, at));
        let jumps = self.sources.get(&instruction.ip()).into_iter().flatten().copied();
        let known: Vec<usize> = falls.into_iter().chain(jumps).collect();
        if !known.is_empty() || !self.complete || is_padding(instruction) {
            return Some(known);
        }
        let calls = self.instructions.iter().enumerate().filter(|(_, instruction)| is_call(instruction));
        Some(calls.map(|(index, _)| index).collect())
    }

    /// Whether control goes on from one instruction to another without a jump.
    fn follows(&self, before: usize, at: usize) -> bool {
        let instruction = &self.instructions[before];
        before + 1 == at
            && instruction.next_ip() == self.instructions[at].ip()
            && !reference::ends(instruction)
    }
}

/// The registers whose sum an instruction makes.
fn sum(instruction: &Instruction) -> Option<[Register; 2]> {
    let terms = match instruction.mnemonic() {
        Mnemonic::Add if instruction.op1_kind() == OpKind::Register => {
            [instruction.op0_register(), instruction.op1_register()]
        }
        Mnemonic::Lea
            if instruction.memory_index_scale() == 1 && instruction.memory_displacement64() == 0 =>
        {
            [instruction.memory_base(), instruction.memory_index()]
        }
        _ => return None,
    };
    terms.iter().all(|term| term.is_gpr64()).then_some(terms)
}

/// Whether a register may have another value behind an instruction. After a call only those have that return something: no caller keeps
/// anything in others that a call may change.
fn changes(instruction: &Instruction, register: Register) -> bool {
    if is_call(instruction) {
        return [Register::RAX, Register::RDX].contains(&register);
    }
    let mut factory = InstructionInfoFactory::new();
    let used = factory.info(instruction).used_registers();
    let writes = |access| {
        matches!(
            access,
            OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
        )
    };
    used.iter().any(|used| used.register().full_register() == register && writes(used.access()))
}

fn is_call(instruction: &Instruction) -> bool {
    matches!(instruction.flow_control(), FlowControl::Call | FlowControl::IndirectCall)
}

fn is_conditional_move(instruction: &Instruction) -> bool {
    instruction.condition_code() != ConditionCode::None
        && instruction.flow_control() == FlowControl::Next
        && instruction.op_count() == 2
}

/// What a conditional jump says of the number that was compared when control comes by it, or past it.
fn limit_by(instruction: &Instruction, past: bool) -> Option<Limit> {
    if instruction.flow_control() != FlowControl::ConditionalBranch {
        return None;
    }
    match (instruction.condition_code(), past) {
        (ConditionCode::a, true) | (ConditionCode::be, false) => Some(Limit::AtMost),
        (ConditionCode::ae, true) | (ConditionCode::b, false) => Some(Limit::Less),
        _ => None,
    }
}

/// Whether an instruction compares what an operand has with a number. A part of it says nothing of the whole.
fn compares(instruction: &Instruction, operand: Operand) -> bool {
    let register = instruction.op0_register();
    let is_part = match instruction.op0_kind() {
        OpKind::Register => !register.is_gpr32() && !register.is_gpr64(),
        _ => ![MemorySize::UInt32, MemorySize::Int32, MemorySize::UInt64, MemorySize::Int64]
            .contains(&instruction.memory_size()),
    };
    if is_part {
        return false;
    }
    let compared = match instruction.op0_kind() {
        OpKind::Register => Operand::Register(instruction.op0_register().full_register()),
        _ => memory(instruction),
    };
    instruction.mnemonic() == Mnemonic::Cmp && compared == operand
}

fn bound_of(comparison: &Instruction, limit: Limit) -> Option<u64> {
    let number = number(comparison)?;
    Some(match limit {
        Limit::Less => number,
        Limit::AtMost => number.checked_add(1)?,
    })
}

/// The number that is the second operand.
fn number(instruction: &Instruction) -> Option<u64> {
    let kind = instruction.op1_kind();
    let is_number = matches!(
        kind,
        OpKind::Immediate8
            | OpKind::Immediate16
            | OpKind::Immediate32
            | OpKind::Immediate8to16
            | OpKind::Immediate8to32
            | OpKind::Immediate8to64
            | OpKind::Immediate32to64
    );
    let number = is_number.then(|| instruction.immediate(1) as i64)?;
    u64::try_from(number).ok()
}

/// Less than this an operand is behind an instruction that clears bits of it.
fn mask(instruction: &Instruction, operand: Operand) -> Option<u64> {
    let register = instruction.op0_register();
    let masks = instruction.mnemonic() == Mnemonic::And
        && (register.is_gpr32() || register.is_gpr64())
        && Operand::Register(register.full_register()) == operand;
    number(instruction).filter(|_| masks)?.checked_add(1)
}

/// What has the value of `operand` before an instruction; `None` if it is not known.
fn origin(instruction: &Instruction, operand: Operand) -> Option<Operand> {
    let changed = match operand {
        Operand::Register(register) => changes(instruction, register),
        Operand::Memory(base, index, ..) => {
            let mut factory = InstructionInfoFactory::new();
            let mut memory = factory.info(instruction).used_memory().iter();
            let reads =
                |access| matches!(access, OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess);
            if is_call(instruction) || memory.any(|used| !reads(used.access())) {
                return None;
            }
            [base, index].into_iter().any(|part| part != Register::None && changes(instruction, part))
        }
    };
    if !changed {
        return Some(operand);
    }
    let extends = matches!(instruction.mnemonic(), Mnemonic::Mov | Mnemonic::Movzx | Mnemonic::Movsxd);
    if !extends || !(instruction.op0_register().is_gpr32() || instruction.op0_register().is_gpr64()) {
        return None;
    }
    match (operand, instruction.op1_kind()) {
        (Operand::Register(_), OpKind::Register) => {
            let source = instruction.op1_register();
            let is_low = ![Register::AH, Register::BH, Register::CH, Register::DH].contains(&source);
            is_low.then(|| Operand::Register(source.full_register()))
        }
        (Operand::Register(_), OpKind::Memory) => Some(memory(instruction)),
        _ => None,
    }
}

fn memory(instruction: &Instruction) -> Operand {
    Operand::Memory(
        instruction.memory_base(),
        instruction.memory_index(),
        instruction.memory_index_scale(),
        instruction.memory_displacement64(),
    )
}
