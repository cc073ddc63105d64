//! How much of guest memory is shown to the CPU at once.
//!
//! KVM keeps some 10 bytes for each page of a slot, which it takes and clears before the slot is there and gives
//! back at the machine's end. Most processes are small and end soon: so what one asks for first is shown in small
//! pieces, and in whole chunks once it has asked for a few.

use monitor_sys::guest_memory::GuestSpan;

/// A piece begins and ends at multiples of so many bytes, or with its chunk.
const PIECE: u64 = 8 << 20;
/// So many pieces of a chunk are shown before all of it is.
const OF_CHUNK: usize = 3;
/// Behind so many spans every chunk is shown as a whole.
const AT_MOST: usize = 32;

/// What of a chunk is to be shown besides the `shown` spans, which are in order, so that `wanted` is.
/// `wanted` begins in the chunk.
pub(super) fn missing(shown: &[GuestSpan], chunk: GuestSpan, wanted: GuestSpan) -> Vec<GuestSpan> {
    let begin = shown.partition_point(|span| span.end() <= chunk.start());
    let end = shown.partition_point(|span| span.start() < chunk.end());
    let of_chunk = &shown[begin..end];
    let start = (wanted.start() / PIECE * PIECE).max(chunk.start());
    let end = (wanted.end().div_ceil(PIECE) * PIECE).min(chunk.end());
    let gaps_of_piece = gaps(of_chunk, start, end);
    let is_many = of_chunk.len() >= OF_CHUNK || shown.len() >= AT_MOST;
    if gaps_of_piece.is_empty() || !is_many {
        return gaps_of_piece;
    }
    gaps(of_chunk, chunk.start(), chunk.end())
}

/// What lies between two addresses and in none of the spans.
fn gaps(spans: &[GuestSpan], start: u64, end: u64) -> Vec<GuestSpan> {
    let mut gaps = Vec::new();
    let mut at = start;
    for span in spans {
        let until = span.start().min(end);
        if at < until {
            gaps.extend(GuestSpan::new(at, until - at));
        }
        at = at.max(span.end());
    }
    if at < end {
        gaps.extend(GuestSpan::new(at, end - at));
    }
    gaps
}

#[cfg(test)]
mod tests {
    use monitor_sys::guest_memory::GuestSpan;

    use super::{AT_MOST, PIECE, missing};
    use crate::layout::{CHUNK, HIGH_START, LOW_START, chunk_of};

    fn span(start: u64, len: u64) -> GuestSpan {
        GuestSpan::new(start, len).unwrap()
    }

    /// Shows what is missing and returns it.
    fn ask(shown: &mut Vec<GuestSpan>, address: u64, len: u64) -> Vec<GuestSpan> {
        let chunk = chunk_of(address).unwrap();
        let missing = missing(shown, chunk, span(address, len));
        shown.extend(&missing);
        shown.sort_by_key(|span| span.start());
        missing
    }

    #[test]
    fn the_first_piece_is_small_and_leaves_out_the_null_page() {
        let mut shown = Vec::new();

        assert_eq!(ask(&mut shown, 0x40_0000, 4096), [span(LOW_START, PIECE - LOW_START)]);
        assert_eq!(ask(&mut shown, 0x41_0000, 4096), []);
        assert_eq!(ask(&mut shown, 0x40_0000, PIECE), [span(PIECE, PIECE)]);
    }

    #[test]
    fn a_chunk_of_which_much_is_asked_for_is_shown_as_a_whole() {
        let mut shown = Vec::new();
        for piece in [1, 3, 5] {
            ask(&mut shown, HIGH_START + piece * PIECE, 1);
        }

        assert_eq!(ask(&mut shown, HIGH_START + 3 * PIECE, PIECE), [], "that is shown");
        let rest = ask(&mut shown, HIGH_START + 2 * PIECE, 1);

        let gaps = [(0, 1), (2, 1), (4, 1), (6, 2)];
        assert_eq!(rest, gaps.map(|(at, count)| span(HIGH_START + at * PIECE, count * PIECE)));
        assert_eq!(ask(&mut shown, HIGH_START, CHUNK), []);
    }

    #[test]
    fn spans_never_overlap_and_all_that_was_asked_for_is_shown() {
        let mut shown = Vec::new();
        let mut state = 1_u64;
        for _ in 0..2000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let address = HIGH_START + (state >> 20) % (8 * CHUNK);
            let chunk = chunk_of(address).unwrap();
            let len = 1 + (state >> 50) * 4096;

            ask(&mut shown, address, len);

            let end = (address + len).min(chunk.end());
            let inside: u64 = shown
                .iter()
                .map(|span| span.end().min(end).saturating_sub(span.start().max(address)))
                .sum();
            assert_eq!(inside, end - address);
            assert!(shown.windows(2).all(|two| two[0].end() <= two[1].start()), "{shown:x?}");
        }
    }

    #[test]
    fn behind_many_spans_chunks_are_whole() {
        let chunks = (0..).map(|chunk| span(HIGH_START + chunk * CHUNK, PIECE));
        let mut shown: Vec<_> = chunks.take(AT_MOST).collect();

        let next = HIGH_START + u64::try_from(AT_MOST).unwrap() * CHUNK;

        assert_eq!(ask(&mut shown, next + PIECE, 1), [span(next, CHUNK)]);
    }
}
