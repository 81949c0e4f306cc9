//! A bound on what a stranger's server may send before an answer ends.
//!
//! tokio-postgres keeps the rows of an answer until they are taken, so a server that sends rows
//! without end would fill the memory. Nothing that Offtake asks of a destination has a long answer:
//! the largest is the list of the keys of a range in `offtake verify`.

use super::Violation;
use super::answer_timeout::Questions;

/// The largest answer is some 160 000 rows of keys.
const BYTES_MAX: u64 = 64 << 20;

/// A row of no columns is seven bytes on the wire and a hundred in memory.
const ROWS_MAX: u32 = 500_000;

/// Of all other messages together. Notices are dropped, but each costs time: so many are read in a
/// fraction of a second, and a trigger may send twenty for each row of a batch.
const MESSAGES_MAX: u32 = 100_000;

/// What was sent since the last answer ended.
#[derive(Default)]
pub(super) struct Budget {
    bytes: u64,
    rows: u32,
    messages: u32,
    questions: Questions,
    /// Questions whose answers have not ended. The end of an answer that was not asked for begins
    /// no new budget.
    open: u32,
}

impl Budget {
    pub(super) fn sent(&mut self, bytes: &[u8]) {
        self.open = self.open.saturating_add(self.questions.take(bytes));
    }

    /// A message of this kind begins, with a body of so many bytes.
    pub(super) fn spend(&mut self, kind: u8, body: u32) -> Result<(), Violation> {
        self.bytes += u64::from(body) + 5;
        match kind {
            b'D' | b'd' => self.rows += 1,
            _ => self.messages += 1,
        }
        if self.bytes > BYTES_MAX {
            Err(Violation::Answer("64 MiB"))
        } else if self.rows > ROWS_MAX {
            Err(Violation::Answer("500 000 rows"))
        } else if self.messages > MESSAGES_MAX {
            Err(Violation::Answer("100 000 messages"))
        } else {
            Ok(())
        }
    }

    /// An answer has ended.
    pub(super) fn answered(&mut self) {
        if self.open > 0 {
            self.open -= 1;
            (self.bytes, self.rows, self.messages) = (0, 0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGIN: &[u8] = b"\0\0\0\x08\0\x03\0\0";
    const QUERY: &[u8] = b"Q\0\0\0\x05\0";

    fn rows(budget: &mut Budget, count: u32, body: u32) -> Result<(), Violation> {
        (0..count).try_for_each(|_| budget.spend(b'D', body))
    }

    #[test]
    fn every_question_has_a_budget_of_its_own() {
        let mut budget = Budget::default();
        budget.sent(LOGIN);
        budget.answered();
        for _ in 0..3 {
            budget.sent(QUERY);
            assert_eq!(rows(&mut budget, ROWS_MAX, 7), Ok(()));
            budget.answered();
        }
        budget.sent(QUERY);
        assert_eq!(rows(&mut budget, ROWS_MAX + 1, 7), Err(Violation::Answer("500 000 rows")));
        let mut budget = Budget::default();
        assert_eq!(rows(&mut budget, 65, 1 << 20), Err(Violation::Answer("64 MiB")));
        let mut budget = Budget::default();
        let notices = (0..=MESSAGES_MAX).try_for_each(|_| budget.spend(b'N', 7));
        assert_eq!(notices, Err(Violation::Answer("100 000 messages")));
    }

    #[test]
    fn an_answer_that_was_not_asked_for_begins_no_new_budget() {
        let mut budget = Budget::default();
        budget.sent(LOGIN);
        budget.answered();
        assert_eq!(rows(&mut budget, ROWS_MAX, 0), Ok(()));
        // Nothing was asked.
        budget.answered();
        assert!(rows(&mut budget, 1, 0).is_err());
    }
}
