//! Decisions about words of a call, as classic BPF: a binary search, and among few values one after the other.
//!
//! A program is written from its end, since all jumps lead there: what is the same is written once. To load it takes
//! Linux as long as it has instructions.

use std::ops::RangeInclusive;

/// `BPF_LD | BPF_W | BPF_ABS`.
const LOAD: u16 = 0x20;
/// `BPF_JMP | BPF_JEQ | BPF_K`.
const JUMP_IF_EQUAL: u16 = 0x15;
/// `BPF_JMP | BPF_JGE | BPF_K`.
const JUMP_IF_AT_LEAST: u16 = 0x35;
/// `BPF_JMP | BPF_JA`.
const JUMP: u16 = 0x05;
/// `BPF_RET | BPF_K`.
const RETURN: u16 = 0x06;

/// So many values are compared one after the other.
const FEW: usize = 4;

/// `struct sock_filter`: code, jumps if true and if false, operand.
type Instruction = (u16, u8, u8, u32);

/// A 32-bit word of `struct seccomp_data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// The call's number.
    Number,
    /// The architecture whose calls are made.
    Architecture,
    /// The lower half of an argument.
    Argument(u32),
}

impl Word {
    fn offset(self) -> u32 {
        match self {
            Self::Number => 0,
            Self::Architecture => 4,
            Self::Argument(index) => 16 + 8 * index,
        }
    }
}

/// What a decision comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Leaf {
    /// The filter's answer.
    Return(u32),
    /// A further decision, about another word.
    Look(Word, Vec<Run>),
}

/// The values from this one on, up to the next run's.
pub(crate) type Run = (u32, Leaf);

/// A decision about a word. One that always comes to the same is none.
pub(crate) fn look(word: Word, mut runs: Vec<Run>) -> Leaf {
    if runs.len() == 1 { runs.remove(0).1 } else { Leaf::Look(word, runs) }
}

/// Runs for all values: of ranges in ascending order, and for values in none of them.
pub(crate) fn switch(
    cases: impl IntoIterator<Item = (RangeInclusive<u32>, Leaf)>,
    otherwise: &Leaf,
) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut add = |start: u32, leaf: Leaf| {
        if runs.last().is_none_or(|(_, last)| *last != leaf) {
            runs.push((start, leaf));
        }
    };
    let mut at = Some(0);
    for (range, leaf) in cases {
        let free = at.expect("nothing follows the greatest number");
        assert!(free <= *range.start(), "{range:?} follows {free}");
        if free < *range.start() {
            add(free, otherwise.clone());
        }
        add(*range.start(), leaf);
        at = range.end().checked_add(1);
    }
    if let Some(at) = at {
        add(at, otherwise.clone());
    }
    runs
}

/// The instructions in the kernel's form.
pub(crate) fn to_bytes(leaf: &Leaf) -> Vec<u8> {
    let bytes = |(code, yes, no, operand): Instruction| {
        let ([c0, c1], [k0, k1, k2, k3]) = (code.to_ne_bytes(), operand.to_ne_bytes());
        [c0, c1, yes, no, k0, k1, k2, k3]
    };
    instructions(leaf).into_iter().flat_map(bytes).collect()
}

fn instructions(leaf: &Leaf) -> Vec<Instruction> {
    let mut program = Program::default();
    program.leaf(leaf);
    program.backwards.reverse();
    program.backwards
}

/// A place in a program: how many instructions are behind it.
type Place = usize;

/// A program from its end on.
#[derive(Default)]
struct Program {
    backwards: Vec<Instruction>,
    /// Where decisions are that may be needed again.
    decisions: Vec<(Leaf, Place)>,
}

impl Program {
    fn add(&mut self, instruction: Instruction) -> Place {
        self.backwards.push(instruction);
        self.backwards.len() - 1
    }

    /// How many instructions lie between the next one that is added and a place.
    fn over(&self, place: Place) -> usize {
        self.backwards.len() - 1 - place
    }

    /// A place from which a comparison, and a second one in front of it, can jump to `place`.
    fn near(&mut self, place: Place) -> Place {
        const REACH: usize = 250;
        let over = self.over(place);
        if over <= REACH {
            return place;
        }
        match self.backwards[place] {
            again @ (RETURN, .., word) => {
                let place = self.add(again);
                self.decisions.push((Leaf::Return(word), place));
                place
            }
            _ => self.add((JUMP, 0, 0, u32::try_from(over).expect("programs are short"))),
        }
    }

    fn compare(&mut self, code: u16, value: u32, yes: Place, no: Place) -> Place {
        // The second may lie behind the first's jump.
        let yes = self.near(yes);
        let no = self.near(no);
        let over = |place| u8::try_from(self.over(place)).expect("it was made near");
        let (yes, no) = (over(yes), over(no));
        self.add((code, yes, no, value))
    }

    fn leaf(&mut self, leaf: &Leaf) -> Place {
        if let Some((_, place)) = self.decisions.iter().rev().find(|(known, _)| known == leaf) {
            return *place;
        }
        let place = match leaf {
            Leaf::Return(word) => self.add((RETURN, 0, 0, *word)),
            Leaf::Look(word, runs) => {
                let first = self.search(runs, None);
                if self.over(first) > 0 {
                    self.add((
                        JUMP,
                        0,
                        0,
                        u32::try_from(self.over(first)).expect("programs are short"),
                    ));
                }
                self.add((LOAD, 0, 0, word.offset()))
            }
        };
        self.decisions.push((leaf.clone(), place));
        place
    }

    /// `end` is what all values are less than, if that is known.
    fn search(&mut self, runs: &[Run], end: Option<u32>) -> Place {
        if let [(_, leaf)] = runs {
            return self.leaf(leaf);
        }
        if let Some((otherwise, values)) = few_values(runs, end) {
            let mut next = self.leaf(otherwise);
            for (value, leaf) in values.into_iter().rev() {
                let found = self.leaf(leaf);
                next = self.compare(JUMP_IF_EQUAL, value, found, next);
            }
            return next;
        }
        // Every other run is often what is so otherwise: both halves begin with it.
        let (low, high) = runs.split_at((runs.len() / 2).next_multiple_of(2).min(runs.len() - 1));
        let first = high[0].0;
        let high = self.search(high, end);
        let low = self.search(low, Some(first));
        self.compare(JUMP_IF_AT_LEAST, first, high, low)
    }
}

/// What single values come to, and all others. `None` if it is not so, or the values are many.
fn few_values(runs: &[Run], end: Option<u32>) -> Option<(&Leaf, Vec<(u32, &Leaf)>)> {
    let otherwise = &runs[0].1;
    let ends = runs[1..].iter().map(|run| Some(run.0)).chain([end]);
    let others = runs.iter().zip(ends).filter(|((_, leaf), _)| leaf != otherwise);
    let single =
        |(run, end): (&'_ Run, Option<u32>)| (run.0.checked_add(1) == end).then_some(run.0);
    if others.clone().count() > FEW || others.clone().any(|pair| single(pair).is_none()) {
        return None;
    }
    Some((otherwise, others.map(|((value, leaf), _)| (*value, leaf)).collect()))
}

#[cfg(test)]
mod tests {
    use super::{
        Instruction, JUMP, JUMP_IF_AT_LEAST, JUMP_IF_EQUAL, LOAD, Leaf, RETURN, Word, instructions,
        look, switch, to_bytes,
    };

    /// What a program answers where every word has the same value.
    fn answer(program: &[Instruction], value: u32) -> u32 {
        let mut at = 0;
        loop {
            let (code, yes, no, operand) = program[at];
            at += 1;
            at += match code {
                LOAD => 0,
                JUMP => usize::try_from(operand).unwrap(),
                JUMP_IF_AT_LEAST => usize::from(if value >= operand { yes } else { no }),
                JUMP_IF_EQUAL => usize::from(if value == operand { yes } else { no }),
                RETURN => return operand,
                _ => panic!("{code:#x}"),
            };
        }
    }

    #[test]
    fn every_value_comes_to_the_leaf_of_its_range() {
        for width in [0, 3] {
            let cases = (0..400_u32).map(|n| (n * 10..=n * 10 + width, Leaf::Return(n % 7)));

            let leaf = look(Word::Number, switch(cases, &Leaf::Return(u32::MAX)));

            let program = instructions(&leaf);
            assert!(program.len() > 400, "jumps over more than 255 instructions");
            for value in 0..4010 {
                let is_in = value < 4000 && value % 10 <= width;
                let expected = if is_in { value / 10 % 7 } else { u32::MAX };
                assert_eq!(answer(&program, value), expected, "{value}");
            }
            assert_eq!(answer(&program, u32::MAX), u32::MAX);
        }
    }

    #[test]
    fn what_is_the_same_is_written_once() {
        let inner =
            || look(Word::Argument(0), switch([(5..=5, Leaf::Return(1))], &Leaf::Return(0)));
        let one = look(Word::Number, switch([(3..=3, inner())], &Leaf::Return(2)));
        let two =
            look(Word::Number, switch([(3..=3, inner()), (9..=9, inner())], &Leaf::Return(2)));

        assert_eq!(to_bytes(&two).len(), to_bytes(&one).len() + 8);
        assert_eq!([3, 9, 5].map(|value| answer(&instructions(&two), value)), [0, 0, 2]);
    }

    #[test]
    fn ranges_reach_both_ends_and_equal_neighbours_are_one() {
        let [yes, no] = [1, 0].map(Leaf::Return);
        let cases = [(0..=4, yes.clone()), (5..=9, yes.clone()), (u32::MAX..=u32::MAX, yes)];

        let runs = switch(cases, &no);

        assert_eq!(runs.iter().map(|run| run.0).collect::<Vec<_>>(), [0, 10, u32::MAX]);
        assert_eq!(look(Word::Argument(1), switch([], &no)), no);
    }
}
