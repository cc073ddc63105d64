//! One CPU's gate, as the monitor sees it: what its code may answer, and the call posted in it.
//!
//! All that is read here can have been written by the guest: it decides about the guest's own call only,
//! and no more comes of a false word than of a call that another of its threads could have made.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use monitor_sys::{
    frames::Frames,
    gate::{
        self, ANSWERS, CLASS_ACTION, CLASS_ANSWERED, CLASS_LEAVES, CLASS_MASK, CLASS_POSTED,
        CLASSES, fixed, noted, posted, reason, state,
    },
    guest_memory::PAGE,
};

/// Where the gates' pages begin, virtually: two for each CPU.
pub const GATES: u64 = super::KERNEL_BASE + 0x1000_0000;
/// Bytes between two gates.
pub const GATE_STRIDE: u64 = 0x2000;

/// Why a call that was posted, or could have been, is the thread's own to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posting {
    /// Nobody looked for it.
    Unseen,
    /// It was not taken up in time.
    Late,
    /// It was taken up, and not done in time.
    Taken,
    /// It was taken up and declined.
    Declined,
}

/// What has become of a posted call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// It is done, with this result.
    Done(u64),
    /// The thread has to make it itself; this much of it is done already.
    Declined(u64),
}

/// What the gate does without leaving the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Each number's class.
    pub classes: [u8; CLASSES],
    /// The words it answers with.
    pub answers: [u64; ANSWERS],
    /// How often it looks for a posted call's result before it takes it back.
    pub patience: u32,
}

impl Plan {
    /// One by which every call leaves.
    pub fn leaving(patience: u32) -> Self {
        Self { classes: [0; CLASSES], answers: [0; ANSWERS], patience }
    }

    /// Has a call answered with the word of this index.
    pub fn answer(&mut self, number: usize, index: u8, value: u64) {
        self.classes[number] = CLASS_ANSWERED | index;
        self.answers[usize::from(index)] = value;
    }

    /// Has a call, which must be `rt_sigaction(2)`, answered from the table of actions.
    pub fn look_up(&mut self, number: usize) {
        self.classes[number] = CLASS_ACTION;
    }

    /// Has a call, which must be `rt_sigprocmask(2)`, answered while the mask is known.
    pub fn tell_mask(&mut self, number: usize) {
        self.classes[number] = CLASS_MASK;
    }

    /// Has a call treated as one of this class, which must be the one for it.
    pub fn treat(&mut self, number: usize, class: u8) {
        self.classes[number] = class;
    }

    /// Has a call posted.
    pub fn post(&mut self, number: usize) {
        self.classes[number] = CLASS_POSTED;
    }
}

/// What a program's first calls have set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// What `set_tid_address(2)` was told.
    pub clear_at_exit: Option<u64>,
    /// What `set_robust_list(2)` was told.
    pub robust_list: Option<u64>,
    /// The heap's end.
    pub program_break: Option<u64>,
}

/// The pages of a gate.
#[derive(Clone, Copy, Debug)]
pub struct Pages {
    /// Its code, and what it only reads.
    pub fixed: usize,
    /// What it writes.
    pub posted: usize,
    /// The page all gates of the machine share.
    pub board: usize,
}

/// One CPU's gate.
#[derive(Debug)]
pub struct Gate {
    frames: Arc<Frames>,
    pages: Pages,
    kernel: bool,
    /// The calls that may be posted, a bit for each number: what the guest wrote may be any.
    allowed: [AtomicU64; CLASSES / 64],
    /// Held while a posted call is made.
    taken: Mutex<()>,
}

impl Gate {
    /// Writes its code. `kernel` says whether `syscall` leads to level 0.
    pub fn new(frames: Arc<Frames>, pages: Pages, kernel: bool) -> Self {
        frames.store_bytes(pages.fixed, gate::code());
        frames.store(pages.fixed, fixed::KERNEL, kernel.into());
        Self { frames, pages, kernel, allowed: Default::default(), taken: Mutex::new(()) }
    }

    /// Follows `plan` from now on.
    pub fn follow(&self, plan: &Plan) {
        self.disable();
        for (at, word) in self.allowed.iter().enumerate() {
            let posted = (0..64).filter(|bit| plan.classes[at * 64 + bit] == CLASS_POSTED);
            word.store(posted.fold(0, |bits, bit| bits | 1 << bit), Ordering::SeqCst);
        }
        let words = plan.classes.as_chunks::<8>().0;
        for (at, &bytes) in words.iter().enumerate() {
            self.set(fixed::CLASSES + at, u64::from_le_bytes(bytes));
        }
        for (at, &answer) in plan.answers.iter().enumerate() {
            self.set(fixed::ANSWERS + at, answer);
        }
        self.set(fixed::PATIENCE, plan.patience.into());
        self.set(fixed::ENABLED, 1);
    }

    /// Whether its code runs at the program's level, with the program's rights to memory.
    pub fn is_at_programs_level(&self) -> bool {
        !self.kernel
    }

    /// Notes an action in the table, the first signal's at 0.
    pub fn note_action(&self, at: usize, action: [u64; 4]) {
        for (word, value) in action.into_iter().enumerate() {
            self.frames.store(self.pages.posted, posted::ACTIONS + at * 4 + word, value);
        }
    }

    /// The same, as the gate or the guest has left it.
    pub fn noted_action(&self, at: usize) -> [u64; 4] {
        std::array::from_fn(|word| self.posted(posted::ACTIONS + at * 4 + word))
    }

    /// The forgetful signals that were set since this was asked last, a bit for each number, as the guest's memory
    /// has it.
    pub fn take_forgotten(&self) -> u64 {
        match self.posted(posted::FORGOTTEN) {
            0 => 0,
            _ => self.frames.swap(self.pages.posted, posted::FORGOTTEN, 0),
        }
    }

    /// Notes what the thread has blocked, or that this is not known any more.
    pub fn note_mask(&self, mask: Option<u64>) {
        self.note_masks(mask.unwrap_or(0), mask.unwrap_or(0));
        self.set(fixed::MASK_IS_KNOWN, mask.is_some().into());
    }

    /// Notes what the thread has blocked on the host, and what the program has.
    pub fn note_masks(&self, host: u64, own: u64) {
        self.set(fixed::MASK, host);
        self.frames.store(self.pages.posted, posted::MASK, own);
        self.set(fixed::MASK_IS_KNOWN, 1);
    }

    /// What the program has blocked, as the guest's memory has it.
    pub fn own_mask(&self) -> u64 {
        self.posted(posted::MASK)
    }

    /// Has a call leave from now on.
    pub fn let_leave(&self, number: usize) {
        let (word, byte) = (fixed::CLASSES + number / 8, number % 8);
        let mut classes = self.frames.load(self.pages.fixed, word).to_le_bytes();
        classes[byte] = CLASS_LEAVES;
        self.set(word, u64::from_le_bytes(classes));
    }

    /// Notes where the heap begins, and where it ends.
    pub fn note_heap(&self, [start, end]: [u64; 2]) {
        self.set(fixed::HEAP, start);
        self.set(fixed::HEAP_END, end.next_multiple_of(PAGE));
        self.frames.store(self.pages.posted, posted::BREAK, end);
    }

    /// Notes the limits of the stack, up to when that can be told.
    pub fn note_stack_limits(&self, [soft, hard]: [u64; 2], until: u64) {
        self.set(fixed::STACK_LIMITS, soft);
        self.set(fixed::STACK_LIMITS + 1, hard);
        self.set(fixed::FRESH_UNTIL, until);
    }

    /// Has it note no other list than this one, or any if it is 0.
    pub fn expect_list(&self, head: u64) {
        self.set(fixed::EXPECTED_LIST, head);
    }

    /// Leaves bytes for a call that asks for random ones.
    pub fn leave_random(&self, bytes: [u8; 8]) {
        self.frames.store(self.pages.posted, posted::RANDOM, u64::from_le_bytes(bytes));
    }

    /// What of the bits of `allowed` was set since this was asked last, as the guest's memory has it.
    pub fn take_noted(&self, allowed: u64) -> Noted {
        if self.posted(posted::NOTED) == 0 {
            return Noted::default();
        }
        let bits = allowed & self.frames.swap(self.pages.posted, posted::NOTED, 0);
        let noted = |bit, word| (bits & bit != 0).then(|| self.posted(word));
        Noted {
            clear_at_exit: noted(noted::CLEAR_AT_EXIT, posted::CLEAR_AT_EXIT),
            robust_list: noted(noted::ROBUST_LIST, posted::ROBUST_LIST),
            program_break: noted(noted::BREAK, posted::BREAK),
        }
    }

    /// Has every call leave from now on.
    pub fn disable(&self) {
        self.set(fixed::ENABLED, 0);
        self.allowed.iter().for_each(|word| word.store(0, Ordering::SeqCst));
    }

    fn allows(&self, number: u64) -> bool {
        let number = usize::try_from(number).unwrap_or(CLASSES);
        let word = self.allowed.get(number / 64);
        word.is_some_and(|word| word.load(Ordering::SeqCst) & 1 << (number % 64) != 0)
    }

    /// Has the CPU leave before it goes on with the program, or not any more.
    pub fn want_out(&self, wanted: bool) {
        self.set(fixed::LEAVE, wanted.into());
    }

    /// Says to all gates of the machine whether posted calls are looked for.
    pub fn announce(&self, looking: bool) {
        self.frames.store(self.pages.board, 0, looking.into());
    }

    /// Whether they are.
    pub fn is_looked_for(&self) -> bool {
        self.frames.load(self.pages.board, 0) == 1
    }

    /// Why the CPU has left: for a call, how that was posted, if it was. `None` if it was wanted out.
    pub fn why(&self) -> Option<Option<Posting>> {
        Some(match self.frames.load(self.pages.posted, posted::REASON) {
            reason::NOBODY => Some(Posting::Unseen),
            reason::LATE => Some(Posting::Late),
            reason::TAKEN => Some(Posting::Taken),
            reason::DECLINED => Some(Posting::Declined),
            reason::WANTED => return None,
            _ => None,
        })
    }

    /// How many calls it answered since this was asked last, as the guest's memory has it.
    pub fn take_answered(&self) -> u64 {
        self.frames.swap(self.pages.posted, posted::ANSWERED, 0)
    }

    /// Makes the posted call, if there is one. Says whether there was.
    pub fn serve(&self, make: impl FnOnce(u64, [u64; 6]) -> Made) -> bool {
        if self.posted(posted::STATE) != state::POSTED {
            return false;
        }
        let _taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.frames.exchange(self.pages.posted, posted::STATE, state::POSTED, state::TAKEN) {
            return false;
        }
        let number = self.posted(posted::NUMBER);
        let args = std::array::from_fn(|at| self.posted(posted::ARGUMENTS + at));
        let outcome = if self.allows(number) { make(number, args) } else { Made::Declined(0) };
        let (word, over) = match outcome {
            Made::Done(result) => (result, state::DONE),
            Made::Declined(progress) => (progress, state::DECLINED),
        };
        self.frames.store(self.pages.posted, posted::NUMBER, word);
        self.frames.store(self.pages.posted, posted::STATE, over);
        true
    }

    /// Waits until the call that was taken up is over, and says what has become of it.
    pub fn await_taken(&self) -> Made {
        drop(self.taken.lock().unwrap_or_else(PoisonError::into_inner));
        self.result()
    }

    /// What has become of a call that is over. One that never was is still to be made.
    pub fn result(&self) -> Made {
        let word = self.posted(posted::NUMBER);
        match self.frames.swap(self.pages.posted, posted::STATE, state::IDLE) {
            state::DONE => Made::Done(word),
            state::DECLINED => Made::Declined(word),
            _ => Made::Declined(0),
        }
    }

    fn posted(&self, word: usize) -> u64 {
        self.frames.load(self.pages.posted, word)
    }

    fn set(&self, word: usize, value: u64) {
        self.frames.store(self.pages.fixed, word, value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use monitor_sys::{
        frames::Frames,
        gate::{fixed, noted, posted, reason, state},
    };

    use super::{Gate, Made, Noted, Pages, Plan, Posting};

    const PAGES: Pages = Pages { fixed: 0, posted: 1, board: 2 };

    fn gate() -> (Gate, Arc<Frames>) {
        let frames = Arc::new(Frames::reserve(3).unwrap());
        let gate = Gate::new(Arc::clone(&frames), PAGES, false);
        let mut plan = Plan::leaving(1);
        plan.post(1);
        gate.follow(&plan);
        (gate, frames)
    }

    fn post(frames: &Frames, words: [u64; 7]) {
        for (at, word) in words.into_iter().enumerate() {
            frames.store(PAGES.posted, posted::NUMBER + at, word);
        }
        frames.store(PAGES.posted, posted::STATE, state::POSTED);
    }

    #[test]
    fn a_posted_call_is_made_once() {
        let (gate, frames) = gate();
        post(&frames, [1, 2, 3, 4, 5, 6, 7]);

        assert!(gate.serve(|number, args| {
            assert_eq!((number, args), (1, [2, 3, 4, 5, 6, 7]));
            Made::Done(9)
        }));
        assert!(!gate.serve(|_, _| unreachable!("there is none")));
        assert_eq!(gate.await_taken(), Made::Done(9));
        assert_eq!(gate.result(), Made::Declined(0), "a forged reason makes no call of it");
    }

    #[test]
    fn what_may_not_be_posted_is_not_made() {
        let (gate, frames) = gate();
        for number in [2, 65, 512, u64::MAX] {
            post(&frames, [number, 0, 0, 0, 0, 0, 0]);
            assert!(gate.serve(|_, _| unreachable!("call {number}")));
            assert_eq!(gate.result(), Made::Declined(0));
        }
        gate.disable();
        post(&frames, [1, 0, 0, 0, 0, 0, 0]);
        assert!(gate.serve(|_, _| unreachable!("it is disabled")));
    }

    #[test]
    fn a_declined_call_says_how_much_is_done() {
        let (gate, frames) = gate();
        post(&frames, [1, 0, 0, 0, 0, 0, 0]);

        assert!(gate.serve(|_, _| Made::Declined(40)));
        assert_eq!(gate.result(), Made::Declined(40));
    }

    #[test]
    fn of_what_is_noted_only_the_allowed_is_told_and_once() {
        let (gate, frames) = gate();
        for (word, value) in
            [(posted::CLEAR_AT_EXIT, 1), (posted::BREAK, 2), (posted::NOTED, u64::MAX)]
        {
            frames.store(PAGES.posted, word, value);
        }

        let found = gate.take_noted(noted::CLEAR_AT_EXIT);

        assert_eq!(found, Noted { clear_at_exit: Some(1), ..Noted::default() });
        assert_eq!(gate.take_noted(u64::MAX), Noted::default());
    }

    #[test]
    fn one_call_leaves_again_and_its_neighbours_stay() {
        let (gate, frames) = gate();
        let mut plan = Plan::leaving(1);
        (8..16).for_each(|number| plan.treat(number, 7));
        gate.follow(&plan);

        gate.let_leave(9);

        let word = frames.load(PAGES.fixed, fixed::CLASSES + 1);
        assert_eq!(word.to_le_bytes(), [7, 0, 7, 7, 7, 7, 7, 7]);
    }

    #[test]
    fn reasons_that_no_gate_gives_are_plain_calls() {
        let (gate, frames) = gate();
        for (word, why) in [
            (reason::CLASS, Some(None)),
            (reason::LATE, Some(Some(Posting::Late))),
            (reason::WANTED, None),
            (u64::MAX, Some(None)),
        ] {
            frames.store(PAGES.posted, posted::REASON, word);
            assert_eq!(gate.why(), why, "{word}");
        }
    }
}
