//! The challenge of SCRAM: `r=…,s=SALT,i=ROUNDS`.
//!
//! The answer proves that we know the password, and it can be tried against guesses. With one round
//! and no salt, a guess costs a hash, and tables of hashes exist; so a server that answers the
//! dial, or a listener, could have the password in a moment. With billions of rounds the login is
//! computed for minutes.

use super::Violation;

/// What Postgres asks for, and the least that RFC 7677 allows.
const ROUNDS_MIN: u32 = 4096;

/// Some seconds of computing; no server is set up with more.
const ROUNDS_MAX: u32 = 1_000_000;

/// Checks the challenge; `exposed` where the server did not prove its identity over TLS.
pub(super) fn examine(challenge: &[u8], exposed: bool) -> Result<(), Violation> {
    let value = |name: &[u8]| {
        challenge.split(|byte| *byte == b',').find_map(|part| part.strip_prefix(name))
    };
    let rounds: Option<u32> =
        value(b"i=").and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    let salted = value(b"s=").is_some_and(|salt| salt.iter().any(|byte| *byte != b'='));
    match rounds {
        Some(rounds) if rounds > ROUNDS_MAX => Err(Violation::Rounds),
        Some(rounds) if rounds >= ROUNDS_MIN && salted => Ok(()),
        _ if exposed => {
            Err(Violation::Password("by SCRAM with fewer than 4096 rounds or without a salt"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weak_challenge_is_only_answered_to_a_server_that_is_known() {
        for weak in [
            "r=x,s=c2FsdA==,i=1",
            "r=x,s=c2FsdA==,i=4095",
            "r=x,s=,i=4096",
            "r=x,i=4096",
            "r=x",
            "",
        ] {
            assert!(
                matches!(examine(weak.as_bytes(), true), Err(Violation::Password(_))),
                "{weak}"
            );
            assert_eq!(examine(weak.as_bytes(), false), Ok(()), "{weak}");
        }
        for exposed in [true, false] {
            assert_eq!(examine(b"r=x,s=c2FsdA==,i=4096", exposed), Ok(()));
            assert_eq!(examine(b"r=x,s=c2FsdA==,i=2147483647", exposed), Err(Violation::Rounds));
        }
    }
}
