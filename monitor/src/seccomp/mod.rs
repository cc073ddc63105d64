//! Seccomp filters on the guest's calls: the workload's profile, and what the
//! guest adds with `seccomp(2)` and `prctl(2)`.
//!
//! A filter on the host would act on the monitor. So the monitor runs the
//! filters itself, at the gate, before it looks at its own tables. They are
//! classic BPF programs with Linux's checks and Linux's meaning.

pub mod dispatch;
pub mod program;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use program::{Data, Program};

/// What a filter wants done about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// `SECCOMP_RET_KILL_PROCESS`.
    KillProcess,
    /// `SECCOMP_RET_KILL_THREAD`.
    KillThread,
    /// `SECCOMP_RET_TRAP`, with its data, which becomes `si_errno`.
    Trap(u16),
    /// `SECCOMP_RET_ERRNO`: the call fails with this number, 0 being success.
    Errno(u16),
    /// `SECCOMP_RET_USER_NOTIF` of the oldest filter, the workload's profile: its agent is asked,
    /// if it has one.
    Ask,
    /// `SECCOMP_RET_USER_NOTIF` of others and `SECCOMP_RET_TRACE`: nobody listens, so the
    /// call fails with `ENOSYS`, as on Linux.
    Unsupervised,
    /// `SECCOMP_RET_LOG`.
    Log,
    /// `SECCOMP_RET_ALLOW`.
    Allow,
}

/// `SECCOMP_RET_ACTION_FULL`.
const ACTION: u32 = 0xffff_0000;
/// `SECCOMP_RET_USER_NOTIF`.
const USER_NOTIF: u32 = 0x7fc0_0000;

impl Action {
    /// Reads what a filter returned. Unknown actions kill, as on Linux.
    pub fn from_word(word: u32) -> Self {
        let data = u16::try_from(word & 0xffff).expect("masked to 16 bits");
        match word & ACTION {
            0x7fff_0000 => Self::Allow,
            0x7ffc_0000 => Self::Log,
            0x7ff0_0000 | 0x7fc0_0000 => Self::Unsupervised,
            0x0005_0000 => Self::Errno(data.min(4095)),
            0x0003_0000 => Self::Trap(data),
            0 => Self::KillThread,
            _ => Self::KillProcess,
        }
    }
}

/// The filters of a thread: never fewer, and children have them too.
#[derive(Clone, Debug, Default)]
pub struct Filters {
    programs: Vec<Arc<Program>>,
    /// Which of [`SharedFilters`]' they are.
    generation: u64,
}

/// The filters that a thread has given to all others of its process, who take
/// them on before their next call.
#[derive(Debug, Default)]
pub struct SharedFilters {
    generation: AtomicU64,
    filters: Mutex<Filters>,
}

impl SharedFilters {
    /// Gives a thread's filters to all.
    pub fn share(&self, filters: &mut Filters) {
        let mut shared = self.filters.lock().unwrap_or_else(PoisonError::into_inner);
        filters.generation = shared.generation + 1;
        *shared = filters.clone();
        self.generation.store(filters.generation, Ordering::Release);
    }

    /// Takes what another thread has given.
    pub fn adopt(&self, filters: &mut Filters) {
        if self.generation.load(Ordering::Acquire) != filters.generation {
            let shared = self.filters.lock().unwrap_or_else(PoisonError::into_inner);
            if shared.generation > filters.generation {
                *filters = shared.clone();
            }
        }
    }
}

impl Filters {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.programs.is_empty()
    }

    /// Adds one, to be asked from now on.
    pub fn push(&mut self, program: Program) {
        self.programs.push(Arc::new(program));
    }

    /// Filters from bytes; `None` if one does not pass the check.
    pub fn decode(encoded: &[Vec<u8>]) -> Option<Self> {
        let programs = encoded.iter().map(|bytes| Program::decode(bytes).map(Arc::new));
        Some(Self { programs: programs.collect::<Option<_>>()?, generation: 0 })
    }

    /// Every filter as bytes, the oldest first, for the next monitor.
    pub fn encode(&self) -> Vec<Vec<u8>> {
        self.programs.iter().map(|program| program.encode()).collect()
    }

    /// Whether they are the very same, not only alike.
    pub fn are_the_same(&self, others: &Self) -> bool {
        let mut pairs = self.programs.iter().zip(&others.programs);
        self.programs.len() == others.programs.len() && pairs.all(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// Whether all of them allow every call of a number, whatever its arguments are.
    pub fn always_allow(&self, number: u32) -> bool {
        let allows = |word| Action::from_word(word) == Action::Allow;
        self.programs.iter().all(|program| program.run_on_number(number).is_some_and(allows))
    }

    /// Asks all filters. The least permissive answer counts, and among equal ones
    /// that of the youngest.
    pub fn decide(&self, data: &Data) -> Action {
        let words = self.programs.iter().enumerate().rev();
        let words = words.map(|(age, program)| (age, program.run(data)));
        // Linux compares the action bits as signed numbers: KILL_PROCESS is least.
        let strictest = words.min_by_key(|(_, word)| (word & ACTION).cast_signed());
        match strictest {
            None => Action::Allow,
            Some((0, word)) if word & ACTION == USER_NOTIF => Action::Ask,
            Some((_, word)) => Action::from_word(word),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Action, Filters, SharedFilters,
        program::{Data, Instruction, Program},
    };

    fn returning(word: u32) -> Program {
        Program::check(vec![Instruction { code: 6, jt: 0, jf: 0, k: word }]).unwrap()
    }

    fn decision(words: &[u32]) -> Action {
        let mut filters = Filters::default();
        for &word in words {
            filters.push(returning(word));
        }
        filters.decide(&Data::new(39, 0, [0; 6]))
    }

    #[test]
    fn without_filters_everything_is_allowed() {
        assert_eq!(decision(&[]), Action::Allow);
    }

    #[test]
    fn the_least_permissive_answer_counts() {
        assert_eq!(decision(&[0x7fff_0000, 0x0005_0001]), Action::Errno(1));
        assert_eq!(decision(&[0x0003_0007, 0x0005_0001]), Action::Trap(7));
        assert_eq!(decision(&[0, 0x8000_0000]), Action::KillProcess);
    }

    #[test]
    fn among_equal_answers_the_youngest_filters_counts() {
        assert_eq!(decision(&[0x0005_0001, 0x0005_0002]), Action::Errno(2));
    }

    #[test]
    fn the_agent_is_the_oldest_filters() {
        assert_eq!(decision(&[0x7fc0_0000, 0x7fff_0000]), Action::Ask);
        assert_eq!(decision(&[0x7fc0_0000, 0x7fc0_0000]), Action::Unsupervised);
        assert_eq!(decision(&[0x7fff_0000, 0x7fc0_0000]), Action::Unsupervised);
        assert_eq!(decision(&[0x7fc0_0000, 0x0005_0001]), Action::Errno(1));
    }

    #[test]
    fn shared_filters_reach_the_others_and_are_added_to_no_twice() {
        let shared = SharedFilters::default();
        let (mut one, mut other) = (Filters::default(), Filters::default());
        one.push(returning(0x0005_0001));

        shared.share(&mut one);
        shared.adopt(&mut other);
        shared.adopt(&mut one);

        let data = Data::new(39, 0, [0; 6]);
        assert_eq!([one.decide(&data), other.decide(&data)], [Action::Errno(1); 2]);
        assert_eq!([one.encode().len(), other.encode().len()], [1, 1]);
    }

    #[test]
    fn each_word_has_its_meaning() {
        assert_eq!(Action::from_word(0x7ffc_0000), Action::Log);
        assert_eq!(Action::from_word(0x7fc0_0000), Action::Unsupervised);
        assert_eq!(Action::from_word(0x0005_ffff), Action::Errno(4095));
        assert_eq!(Action::from_word(0x1234_0000), Action::KillProcess);
        assert_eq!(Action::from_word(0), Action::KillThread);
    }
}
