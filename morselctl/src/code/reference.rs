//! What an instruction refers to: the target of a branch, or an operand relative to the instruction pointer.

use iced_x86::{ConstantOffsets, FlowControl, Instruction, Mnemonic, OpKind, Register};
use ld_morsel::elf::Vaddr;

/// Where a distance is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Field {
    /// Address of its first byte.
    pub at: Vaddr,
    /// Bytes.
    pub width: u8,
}

/// What an instruction does with its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A direct call.
    Call,
    /// A direct jump, conditional or not.
    Jump,
    /// A call through a pointer in memory.
    IndirectCall,
    /// A jump through a pointer in memory.
    IndirectJump,
    /// A 64-bit `mov` from memory to this register.
    Load(Register),
    /// The address itself (`lea`).
    Address,
    /// Any other operand in memory.
    Other,
}

/// A reference from code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The instruction's address.
    pub at: Vaddr,
    /// The address of the next one, which the distance counts from.
    pub next: Vaddr,
    /// Where the distance is.
    pub field: Field,
    /// What is done with the target.
    pub kind: Kind,
    /// What is referred to.
    pub target: Vaddr,
}

impl Reference {
    /// What `instruction` refers to, whose parts are at `offsets`; `None` if nothing, `Err` if it can only be an accident.
    pub(super) fn of(
        instruction: &Instruction,
        offsets: &ConstantOffsets,
    ) -> Result<Option<Self>, &'static str> {
        let at = instruction.ip();
        let memory = instruction.is_ip_rel_memory_operand();
        let (kind, target, offset, width) = match branch_kind(instruction) {
            Some(kind) => {
                (kind, instruction.near_branch_target(), offsets.immediate_offset(), offsets.immediate_size())
            }
            None if memory && instruction.memory_base() == Register::EIP => return Err("32-bit operand"),
            None if memory => {
                let target = instruction.ip_rel_memory_address();
                (
                    operand_kind(instruction),
                    target,
                    offsets.displacement_offset(),
                    offsets.displacement_size(),
                )
            }
            None => return Ok(None),
        };
        let field = Field { at: Vaddr(at + offset as u64), width: width as u8 };
        Ok(Some(Self {
            at: Vaddr(at),
            next: Vaddr(instruction.next_ip()),
            field,
            kind,
            target: Vaddr(target),
        }))
    }

    /// Whether control goes to the target.
    pub fn is_branch(&self) -> bool {
        matches!(self.kind, Kind::Call | Kind::Jump)
    }
}

fn branch_kind(instruction: &Instruction) -> Option<Kind> {
    match instruction.flow_control() {
        FlowControl::Call if instruction.op0_kind() == OpKind::NearBranch64 => Some(Kind::Call),
        FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch | FlowControl::XbeginXabortXend
            if instruction.op0_kind() == OpKind::NearBranch64 =>
        {
            Some(Kind::Jump)
        }
        _ => None,
    }
}

fn operand_kind(instruction: &Instruction) -> Kind {
    match instruction.mnemonic() {
        Mnemonic::Call => Kind::IndirectCall,
        Mnemonic::Jmp => Kind::IndirectJump,
        Mnemonic::Lea => Kind::Address,
        Mnemonic::Mov
            if instruction.op0_kind() == OpKind::Register && instruction.op0_register().is_gpr64() =>
        {
            Kind::Load(instruction.op0_register())
        }
        _ => Kind::Other,
    }
}

/// Whether an instruction is of a kind that user programs do not have, which suggests that it is none.
pub(super) fn unusual(instruction: &Instruction) -> Option<&'static str> {
    match instruction.mnemonic() {
        Mnemonic::Hlt => None, // the customary way to stop for good
        _ if instruction.is_privileged() => Some("privileged instruction"),
        Mnemonic::In
        | Mnemonic::Out
        | Mnemonic::Insb
        | Mnemonic::Insd
        | Mnemonic::Outsb
        | Mnemonic::Outsd => Some("input or output instruction"),
        Mnemonic::Retf | Mnemonic::Iretq | Mnemonic::Iretd | Mnemonic::Iret => Some("far return"),
        _ if matches!(instruction.op0_kind(), OpKind::NearBranch16 | OpKind::NearBranch32) => {
            Some("short-mode branch")
        }
        _ => None,
    }
}

/// Whether control never goes on behind an instruction.
pub(super) fn ends(instruction: &Instruction) -> bool {
    matches!(
        instruction.flow_control(),
        FlowControl::Return
            | FlowControl::UnconditionalBranch
            | FlowControl::IndirectBranch
            | FlowControl::Exception
    ) || instruction.mnemonic() == Mnemonic::Hlt
}
