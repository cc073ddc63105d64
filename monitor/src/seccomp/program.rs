//! Classic BPF, as far as seccomp uses it: Linux's checks
//! (`seccomp_check_filter` in `kernel/seccomp.c`, `bpf_check_classic` in
//! `net/core/filter.c`) and its meaning.

/// The most instructions of one program (`BPF_MAXINSNS`).
pub const LONGEST: usize = 4096;
/// Bytes of an instruction.
pub const INSTRUCTION_LEN: usize = 8;
/// Bytes of `struct seccomp_data`.
const DATA_LEN: u32 = 64;
/// `AUDIT_ARCH_X86_64`.
pub const ARCHITECTURE: u32 = 0xc000_003e;
/// Words of scratch memory (`BPF_MEMWORDS`).
const MEMORY_WORDS: u32 = 16;

/// `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Class, size or operation, and mode.
    pub code: u16,
    /// How many instructions to skip if the comparison holds.
    pub jt: u8,
    /// How many if it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// `struct seccomp_data`: what a program looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data {
    words: [u32; 16],
}

impl Data {
    /// The call `number`, made before `instruction_pointer`.
    pub fn new(number: u32, instruction_pointer: u64, args: [u64; 6]) -> Self {
        let mut words = [0; 16];
        words[0] = number;
        words[1] = ARCHITECTURE;
        let wide = std::iter::once(instruction_pointer).chain(args);
        for (pair, value) in words[2..].chunks_exact_mut(2).zip(wide) {
            pair[0] = u32::try_from(value & 0xffff_ffff).expect("masked to 32 bits");
            pair[1] = u32::try_from(value >> 32).expect("shifted to 32 bits");
        }
        Self { words }
    }
}

/// What an instruction does, once checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    LoadData(usize),
    Load(Source),
    LoadIndex(Source),
    Store(usize),
    StoreIndex(usize),
    Arithmetic(Operation, Operand),
    Negate,
    Jump(usize),
    Branch { test: Test, operand: Operand, then: usize, otherwise: usize },
    Return(Result<u32, Accumulator>),
    ToIndex,
    ToAccumulator,
}

/// Marks `BPF_RET | BPF_A`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Accumulator;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Constant(u32),
    Memory(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operand {
    Constant(u32),
    Index,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Or,
    And,
    Left,
    Right,
    Xor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    Equal,
    Greater,
    GreaterOrEqual,
    Common,
}

/// A program that was checked: it ends, and stays inside its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    instructions: Vec<Instruction>,
    steps: Vec<Step>,
}

impl Program {
    /// Checks instructions as Linux does; `None` is its `EINVAL`.
    pub fn check(instructions: Vec<Instruction>) -> Option<Self> {
        if instructions.is_empty() || instructions.len() > LONGEST {
            return None;
        }
        let len = instructions.len();
        let steps: Option<Vec<Step>> = instructions
            .iter()
            .enumerate()
            .map(|(at, &instruction)| step(instruction, at, len))
            .collect();
        let steps = steps?;
        let ends = matches!(steps.last(), Some(Step::Return(_)));
        (ends && reads_only_what_was_stored(&steps)).then_some(Self { instructions, steps })
    }

    /// The same from bytes, as in memory.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (instructions, rest) = bytes.as_chunks::<INSTRUCTION_LEN>();
        let read = |bytes: &[u8; INSTRUCTION_LEN]| Instruction {
            code: u16::from_le_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        };
        if rest.is_empty() { Self::check(instructions.iter().map(read).collect()) } else { None }
    }

    /// The program as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let bytes = |instruction: &Instruction| {
            let mut bytes = [0; INSTRUCTION_LEN];
            bytes[..2].copy_from_slice(&instruction.code.to_le_bytes());
            bytes[2] = instruction.jt;
            bytes[3] = instruction.jf;
            bytes[4..].copy_from_slice(&instruction.k.to_le_bytes());
            bytes
        };
        self.instructions.iter().flat_map(bytes).collect()
    }

    /// Runs it on a call. Returns its word for it.
    pub fn run(&self, data: &Data) -> u32 {
        self.run_with(|word| Some(data.words[word])).unwrap_or(0)
    }

    /// Its word for all calls of a number. `None` if it looks at more than that.
    pub fn run_on_number(&self, number: u32) -> Option<u32> {
        self.run_with(|word| match word {
            0 => Some(number),
            1 => Some(ARCHITECTURE),
            _ => None,
        })
    }

    /// Runs it on words of the data. `None` if one is missing.
    fn run_with(&self, data: impl Fn(usize) -> Option<u32>) -> Option<u32> {
        let (mut a, mut x) = (0_u32, 0_u32);
        let mut memory = [0_u32; 16];
        let mut at = 0;
        // Checked programs only jump forwards and end with a return.
        loop {
            let step = self.steps[at];
            at += 1;
            match step {
                Step::LoadData(word) => a = data(word)?,
                Step::Load(source) => a = source.value(&memory),
                Step::LoadIndex(source) => x = source.value(&memory),
                Step::Store(word) => memory[word] = a,
                Step::StoreIndex(word) => memory[word] = x,
                Step::Arithmetic(operation, operand) => {
                    match operation.apply(a, operand.value(x)) {
                        Some(value) => a = value,
                        // Division by a zero index ends the program with 0.
                        None => return Some(0),
                    }
                }
                Step::Negate => a = a.wrapping_neg(),
                Step::Jump(skip) => at += skip,
                Step::Branch { test, operand, then, otherwise } => {
                    at += if test.holds(a, operand.value(x)) { then } else { otherwise };
                }
                Step::Return(word) => return Some(word.unwrap_or(a)),
                Step::ToIndex => x = a,
                Step::ToAccumulator => a = x,
            }
        }
    }
}

impl Source {
    fn value(self, memory: &[u32; 16]) -> u32 {
        match self {
            Self::Constant(value) => value,
            Self::Memory(word) => memory[word],
        }
    }
}

impl Operand {
    fn value(self, x: u32) -> u32 {
        match self {
            Self::Constant(value) => value,
            Self::Index => x,
        }
    }
}

impl Operation {
    /// The operations of the class ALU, by their bits.
    fn from_bits(bits: u16) -> Option<Self> {
        let operations = [
            (0x00, Self::Add),
            (0x10, Self::Subtract),
            (0x20, Self::Multiply),
            (0x30, Self::Divide),
            (0x40, Self::Or),
            (0x50, Self::And),
            (0x60, Self::Left),
            (0x70, Self::Right),
            (0xa0, Self::Xor),
        ];
        operations.iter().find(|(known, _)| *known == bits).map(|&(_, operation)| operation)
    }

    fn apply(self, a: u32, b: u32) -> Option<u32> {
        Some(match self {
            Self::Add => a.wrapping_add(b),
            Self::Subtract => a.wrapping_sub(b),
            Self::Multiply => a.wrapping_mul(b),
            Self::Divide => return a.checked_div(b),
            Self::Or => a | b,
            Self::And => a & b,
            Self::Left => a.wrapping_shl(b),
            Self::Right => a.wrapping_shr(b),
            Self::Xor => a ^ b,
        })
    }
}

impl Test {
    fn from_bits(bits: u16) -> Option<Self> {
        match bits {
            0x10 => Some(Self::Equal),
            0x20 => Some(Self::Greater),
            0x30 => Some(Self::GreaterOrEqual),
            0x40 => Some(Self::Common),
            _ => None,
        }
    }

    fn holds(self, a: u32, b: u32) -> bool {
        match self {
            Self::Equal => a == b,
            Self::Greater => a > b,
            Self::GreaterOrEqual => a >= b,
            Self::Common => a & b != 0,
        }
    }
}

/// Checks the instruction at `at` of `len`.
fn step(instruction: Instruction, at: usize, len: usize) -> Option<Step> {
    let Instruction { code, k, .. } = instruction;
    Some(match code {
        0x20 => Step::LoadData(data_word(k)?),
        0x80 => Step::Load(Source::Constant(DATA_LEN)),
        0x81 => Step::LoadIndex(Source::Constant(DATA_LEN)),
        0x00 => Step::Load(Source::Constant(k)),
        0x01 => Step::LoadIndex(Source::Constant(k)),
        0x60 => Step::Load(Source::Memory(memory_word(k)?)),
        0x61 => Step::LoadIndex(Source::Memory(memory_word(k)?)),
        0x02 => Step::Store(memory_word(k)?),
        0x03 => Step::StoreIndex(memory_word(k)?),
        0x84 => Step::Negate,
        0x06 => Step::Return(Ok(k)),
        0x16 => Step::Return(Err(Accumulator)),
        0x07 => Step::ToIndex,
        0x87 => Step::ToAccumulator,
        0x05 => Step::Jump(skip(k, at, len)?),
        code if code & 0xff07 == 0x04 => arithmetic(code, k)?,
        code if code & 0xff07 == 0x05 => branch(instruction, at, len)?,
        _ => return None,
    })
}

fn operand(code: u16, k: u32) -> Operand {
    if code & 8 == 0 { Operand::Constant(k) } else { Operand::Index }
}

fn arithmetic(code: u16, k: u32) -> Option<Step> {
    let operation = Operation::from_bits(code & 0xf0)?;
    let operand = operand(code, k);
    let divides_by_zero = operation == Operation::Divide && operand == Operand::Constant(0);
    let shifts = matches!(operation, Operation::Left | Operation::Right);
    let shifts_too_far = shifts && matches!(operand, Operand::Constant(32..));
    (!divides_by_zero && !shifts_too_far).then_some(Step::Arithmetic(operation, operand))
}

fn branch(instruction: Instruction, at: usize, len: usize) -> Option<Step> {
    Some(Step::Branch {
        test: Test::from_bits(instruction.code & 0xf0)?,
        operand: operand(instruction.code, instruction.k),
        then: skip(instruction.jt.into(), at, len)?,
        otherwise: skip(instruction.jf.into(), at, len)?,
    })
}

/// A jump over `count` instructions, if it stays inside.
fn skip(count: u32, at: usize, len: usize) -> Option<usize> {
    let count = usize::try_from(count).ok()?;
    (count < len - at - 1).then_some(count)
}

fn data_word(offset: u32) -> Option<usize> {
    let inside = offset < DATA_LEN && offset.is_multiple_of(4);
    if inside { usize::try_from(offset / 4).ok() } else { None }
}

fn memory_word(word: u32) -> Option<usize> {
    if word < MEMORY_WORDS { usize::try_from(word).ok() } else { None }
}

/// Whether each word of memory that is read has been stored on every way there
/// (`check_load_and_stores`).
fn reads_only_what_was_stored(steps: &[Step]) -> bool {
    // What is stored for certain before each step; jumps only narrow it.
    let mut certain = vec![u16::MAX; steps.len()];
    let mut stored = 0_u16;
    for (at, step) in steps.iter().enumerate() {
        stored &= certain[at];
        let mut narrow = |skip: usize| certain[at + 1 + skip] &= stored;
        match *step {
            Step::Store(word) | Step::StoreIndex(word) => stored |= 1 << word,
            Step::Load(Source::Memory(word)) | Step::LoadIndex(Source::Memory(word))
                if stored & 1 << word == 0 =>
            {
                return false;
            }
            Step::Jump(skip) => {
                narrow(skip);
                stored = u16::MAX;
            }
            Step::Branch { then, otherwise, .. } => {
                narrow(then);
                narrow(otherwise);
                stored = u16::MAX;
            }
            Step::Return(_) => stored = u16::MAX,
            Step::LoadData(_)
            | Step::Load(_)
            | Step::LoadIndex(_)
            | Step::Arithmetic(..)
            | Step::Negate
            | Step::ToIndex
            | Step::ToAccumulator => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{Data, Instruction, Program};

    /// Code, jumps if true and if false, operand.
    type Row = (u16, u8, u8, u32);

    fn program(instructions: &[Row]) -> Option<Program> {
        let instruction = |&(code, jt, jf, k): &Row| Instruction { code, jt, jf, k };
        Program::check(instructions.iter().map(instruction).collect())
    }

    fn run(instructions: &[Row], number: u32) -> u32 {
        let args = [0x1_0000_0002, 0, 0, 0, 0, 7];
        program(instructions).unwrap().run(&Data::new(number, 0x40_0000, args))
    }

    #[test]
    fn a_filter_tells_calls_apart_by_number() {
        let filter = [(0x20, 0, 0, 0), (0x15, 0, 1, 59), (0x06, 0, 0, 1), (0x06, 0, 0, 2)];

        assert_eq!([run(&filter, 59), run(&filter, 60)], [1, 2]);
    }

    #[test]
    fn the_data_is_linuxs() {
        let load = |offset| run(&[(0x20, 0, 0, offset), (0x16, 0, 0, 0)], 5);

        assert_eq!([load(0), load(4), load(8)], [5, 0xc000_003e, 0x40_0000]);
        assert_eq!([load(16), load(20), load(56)], [2, 1, 7], "the arguments, low half first");
    }

    #[test]
    fn arithmetic_and_memory_work() {
        let filter = [
            (0x00, 0, 0, 40),
            (0x02, 0, 0, 3),
            (0x01, 0, 0, 2),
            (0x0c, 0, 0, 0),
            (0x07, 0, 0, 0),
            (0x60, 0, 0, 3),
            (0x1c, 0, 0, 0),
            (0x84, 0, 0, 0),
            (0x16, 0, 0, 0),
        ];

        assert_eq!(run(&filter, 0), 2, "-(40 - (40 + 2))");
    }

    #[test]
    fn what_linux_refuses_is_refused() {
        let end = (0x06, 0, 0, 0);
        let refused: [(&str, &[Row]); 9] = [
            ("no end", &[(0x00, 0, 0, 0)]),
            ("a jump behind the end", &[(0x05, 0, 0, 1), end]),
            ("a branch behind the end", &[(0x15, 1, 0, 0), end]),
            ("an odd offset", &[(0x20, 0, 0, 2), end]),
            ("an offset behind the data", &[(0x20, 0, 0, 64), end]),
            ("a load of a byte", &[(0x30, 0, 0, 0), end]),
            ("division by zero", &[(0x34, 0, 0, 0), end]),
            ("memory that was not stored", &[(0x60, 0, 0, 1), end]),
            ("memory behind the end", &[(0x02, 0, 0, 16), end]),
        ];
        for (why, instructions) in refused {
            assert_eq!(program(instructions), None, "{why}");
        }
        assert_eq!(program(&[]), None, "nothing");
    }

    #[test]
    fn memory_stored_on_one_way_only_is_not_stored() {
        let filter = [(0x15, 1, 0, 0), (0x02, 0, 0, 1), (0x60, 0, 0, 1), (0x06, 0, 0, 0)];

        assert_eq!(program(&filter), None);
    }

    proptest! {
        #[test]
        fn a_program_that_passes_the_check_ends(bytes: Vec<u8>, number: u32) {
            if let Some(program) = Program::decode(&bytes) {
                let _any_word = program.run(&Data::new(number, 0, [0; 6]));
                assert_eq!(Program::decode(&program.encode()), Some(program));
            }
        }

        #[test]
        fn plausible_programs_end(
            codes in proptest::collection::vec((0..0x90_u16, 0..4_u8, 0..4_u8, any::<u8>()), 1..40)
        ) {
            let mut instructions: Vec<_> =
                codes.into_iter().map(|(code, jt, jf, k)| (code, jt, jf, u32::from(k))).collect();
            instructions.extend([(0x06, 0, 0, 1); 5]);
            if let Some(program) = program(&instructions) {
                let _any_word = program.run(&Data::new(0, 0, [0; 6]));
            }
        }
    }
}
