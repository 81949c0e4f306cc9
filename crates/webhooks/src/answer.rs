//! What an answer means: the one table from a reply to its consequence.

use std::time::Duration;

use offtake_mapping::foreign;

/// What came of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Answered(Answer),
    Unanswered(Unanswered),
}

/// The head of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// What `Retry-After` asks for, unbounded.
    pub retry_after: Option<Duration>,
    pub delivery: Option<Delivery>,
    /// The host of `Location`, never its path.
    pub location: Option<String>,
    /// The first bytes of a failure's body, for operators, without control characters. None where
    /// they repeat something of the request.
    pub response: Option<String>,
}

/// What the header `webhook-delivery` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Nothing more is to be sent to this endpoint.
    Disable,
    /// This event is not to be sent again.
    AbortMessage,
}

/// Why there is no answer. The text says what happened; it repeats neither path nor secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unanswered {
    /// The address policy forbids an address of the host. Nothing was sent.
    Address(String),
    Dns(String),
    /// Refused, or unreachable.
    Connect(String),
    Tls(String),
    TimedOut(String),
    /// The connection broke before an answer was there, or what came is no HTTP.
    Broken(String),
    /// The dialer was too busy to dial, which is no fault of the endpoint. Nothing was sent.
    NoTurn(String),
}

impl Unanswered {
    pub fn text(&self) -> &str {
        match self {
            Self::Address(text)
            | Self::Dns(text)
            | Self::Connect(text)
            | Self::Tls(text)
            | Self::TimedOut(text)
            | Self::Broken(text)
            | Self::NoTurn(text) => text,
        }
    }
}

/// What follows from a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Acknowledged,
    /// The webhook is disabled: the endpoint says that nothing more is to be sent.
    Gone {
        acknowledged: bool,
        why: String,
    },
    /// This event is not tried again: it goes to quarantine, exhausted.
    GivenUp {
        why: String,
    },
    /// The endpoint is unwell: the cursor stays, no event is blamed, backoff.
    Unwell {
        why: String,
        retry_after: Option<Duration>,
    },
    /// As unwell, and somebody must mend something.
    Blocked {
        why: String,
        retry_after: Option<Duration>,
    },
    /// The event or the endpoint: what happens to the event's neighbour tells.
    Doubtful {
        why: String,
        retry_after: Option<Duration>,
    },
    /// The receiver refuses this event.
    Refused {
        why: String,
    },
    /// The address policy forbids it. Not retried until the URL or the answer of the DNS changes.
    AddressRefused {
        why: String,
    },
}

impl Verdict {
    /// Why it is no acknowledgement, in one sentence.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Acknowledged => None,
            Self::Gone { why, .. }
            | Self::GivenUp { why }
            | Self::Unwell { why, .. }
            | Self::Blocked { why, .. }
            | Self::Doubtful { why, .. }
            | Self::Refused { why }
            | Self::AddressRefused { why } => Some(why),
        }
    }

    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unwell { retry_after, .. }
            | Self::Blocked { retry_after, .. }
            | Self::Doubtful { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl Reply {
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Answered(answer) => Some(answer.status),
            Self::Unanswered(_) => None,
        }
    }

    /// The label of the metric, and `webhook_attempt.class`.
    pub fn class(&self) -> &'static str {
        match (self, judge(self)) {
            (Self::Unanswered(Unanswered::TimedOut(_)), _) => "timeout",
            (_, Verdict::AddressRefused { .. }) => "address",
            (_, Verdict::Acknowledged | Verdict::Gone { acknowledged: true, .. }) => "delivered",
            (_, Verdict::GivenUp { .. } | Verdict::Refused { .. }) => "refused",
            _ => "unwell",
        }
    }
}

/// The table. docs/webhooks.md has it for receivers.
pub fn judge(reply: &Reply) -> Verdict {
    match reply {
        Reply::Answered(answer) => of_answer(answer),
        Reply::Unanswered(Unanswered::Address(why)) => Verdict::AddressRefused { why: why.clone() },
        Reply::Unanswered(other) => {
            Verdict::Unwell { why: other.text().to_owned(), retry_after: None }
        }
    }
}

fn of_answer(answer: &Answer) -> Verdict {
    let status = answer.status;
    let acknowledged = (200..300).contains(&status);
    let retry_after = answer.retry_after;
    if answer.delivery == Some(Delivery::Disable) {
        let why = format!("answers {status} with webhook-delivery: disable");
        return Verdict::Gone { acknowledged, why };
    }
    if status == 410 {
        return Verdict::Gone { acknowledged, why: "answers 410: it is gone".to_owned() };
    }
    if acknowledged {
        return Verdict::Acknowledged;
    }
    if answer.delivery == Some(Delivery::AbortMessage) {
        let why = format!("answers {status} with webhook-delivery: abort-message");
        return Verdict::GivenUp { why };
    }
    match status {
        408 | 425 | 429 | 502 | 503 | 504 => {
            Verdict::Unwell { why: format!("answers {status}"), retry_after }
        }
        500..=599 => Verdict::Doubtful { why: format!("answers {status}"), retry_after },
        401 | 403 | 404 | 405 | 407 => {
            Verdict::Blocked { why: what_to_mend(status).to_owned(), retry_after }
        }
        400..=499 => Verdict::Refused { why: format!("answers {status}") },
        300..=399 => Verdict::Blocked { why: redirected(answer), retry_after },
        _ => {
            let why = format!("answers {status}, which is no answer to a POST");
            Verdict::Blocked { why, retry_after }
        }
    }
}

fn what_to_mend(status: u16) -> &'static str {
    match status {
        401 => "answers 401: it takes other credentials; correct headers or secret",
        403 => "answers 403: it forbids these requests; correct headers, secret or its own rules",
        404 => "answers 404: nothing is at this path; correct the url",
        405 => "answers 405: it takes no POST at this path; correct the url",
        _ => "answers 407: a proxy stands before it; give a url that is reached without one",
    }
}

fn redirected(answer: &Answer) -> String {
    let status = answer.status;
    match &answer.location {
        Some(host) => format!("answers {status} to {}: give the final url", foreign(host)),
        None => format!("answers {status}: give the url at which it answers itself"),
    }
}

/// So many bytes of a failure's body are kept.
pub(crate) const RESPONSE_BYTES_MAX: usize = 512;

/// An answer that repeats so many bytes of the request is not kept.
const REPEATED_BYTES: usize = 16;

/// What may be kept of an answer's body: text without control characters. None where it repeats a
/// stretch of the request, also one that was escaped on the way: receivers echo what they refuse,
/// and no value and no secret may settle in the log of attempts.
pub(crate) fn kept_response(body: &[u8], request: &[&[u8]]) -> Option<String> {
    let body = &body[..body.len().min(RESPONSE_BYTES_MAX)];
    if repeats(body, request) {
        return None;
    }
    let plain =
        |text: &[u8]| text.iter().copied().filter(|byte| *byte != b'\\').collect::<Vec<_>>();
    let request: Vec<Vec<u8>> = request.iter().map(|part| plain(part)).collect();
    let parts: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
    if repeats(&plain(body), &parts) {
        return None;
    }
    let text = String::from_utf8_lossy(body);
    let text: String = text.chars().filter(|c| !offtake_mapping::is_unprintable(*c)).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn repeats(body: &[u8], request: &[&[u8]]) -> bool {
    let windows: std::collections::HashSet<&[u8]> = body.windows(REPEATED_BYTES).collect();
    !windows.is_empty()
        && request
            .iter()
            .any(|part| part.windows(REPEATED_BYTES).any(|window| windows.contains(window)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16) -> Answer {
        Answer { status, ..Answer::default() }
    }

    fn consequence(answer: Answer) -> (&'static str, &'static str) {
        let reply = Reply::Answered(answer);
        (name(&judge(&reply)), reply.class())
    }

    fn name(verdict: &Verdict) -> &'static str {
        match verdict {
            Verdict::Acknowledged => "acknowledged",
            Verdict::Gone { .. } => "gone",
            Verdict::GivenUp { .. } => "given up",
            Verdict::Unwell { .. } => "unwell",
            Verdict::Blocked { .. } => "blocked",
            Verdict::Doubtful { .. } => "doubtful",
            Verdict::Refused { .. } => "refused",
            Verdict::AddressRefused { .. } => "address",
        }
    }

    #[test]
    fn every_status_has_its_consequence() {
        for status in 100..=999 {
            let expected = match status {
                200..=299 => ("acknowledged", "delivered"),
                410 => ("gone", "unwell"),
                408 | 425 | 429 | 502..=504 => ("unwell", "unwell"),
                401 | 403 | 404 | 405 | 407 | 300..=399 => ("blocked", "unwell"),
                500..=599 => ("doubtful", "unwell"),
                400..=499 => ("refused", "refused"),
                _ => ("blocked", "unwell"),
            };
            assert_eq!(consequence(answered(status)), expected, "{status}");
        }
    }

    #[test]
    fn a_receiver_may_ask_for_nothing_more_or_not_for_this_event() {
        for status in [200, 204, 302, 400, 404, 410, 429, 500, 503] {
            let disable = Answer { delivery: Some(Delivery::Disable), ..answered(status) };
            assert_eq!(consequence(disable).0, "gone", "{status}");
        }
        for status in [302, 400, 404, 422, 429, 500, 503] {
            let abort = Answer { delivery: Some(Delivery::AbortMessage), ..answered(status) };
            assert_eq!(consequence(abort), ("given up", "refused"), "{status}");
        }
        let accepted = Answer { delivery: Some(Delivery::AbortMessage), ..answered(200) };
        assert_eq!(consequence(accepted).0, "acknowledged");
        let told =
            judge(&Reply::Answered(Answer { delivery: Some(Delivery::Disable), ..answered(200) }));
        assert!(matches!(told, Verdict::Gone { acknowledged: true, .. }));
    }

    #[test]
    fn no_answer_is_the_endpoint_s_fault_and_an_address_the_policy_s() {
        for (unanswered, expected) in [
            (Unanswered::Dns("x".into()), ("unwell", "unwell")),
            (Unanswered::Connect("x".into()), ("unwell", "unwell")),
            (Unanswered::Tls("x".into()), ("unwell", "unwell")),
            (Unanswered::Broken("x".into()), ("unwell", "unwell")),
            (Unanswered::NoTurn("x".into()), ("unwell", "unwell")),
            (Unanswered::TimedOut("x".into()), ("unwell", "timeout")),
            (Unanswered::Address("x".into()), ("address", "address")),
        ] {
            let reply = Reply::Unanswered(unanswered);
            let verdict = judge(&reply);
            assert_eq!((name(&verdict), reply.class()), expected);
            assert_eq!(verdict.why(), Some("x"));
        }
    }

    #[test]
    fn what_blocks_says_what_to_mend() {
        let why = |answer| judge(&Reply::Answered(answer)).why().unwrap().to_owned();
        let location = Some("other.example".to_owned());
        assert_eq!(
            why(Answer { location, ..answered(302) }),
            "answers 302 to other.example: give the final url"
        );
        assert!(why(answered(304)).contains("give the url"));
        assert!(why(answered(401)).contains("credentials"));
        assert!(why(answered(404)).contains("correct the url"));
        assert!(why(answered(101)).contains("no answer to a POST"));
    }

    #[test]
    fn retry_after_counts_where_the_endpoint_is_tried_again() {
        let soon = Some(Duration::from_secs(7));
        for (status, expected) in [
            (429, soon),
            (503, soon),
            (500, soon),
            (302, soon),
            (404, soon),
            (400, None),
            (200, None),
        ] {
            let answer = Answer { retry_after: soon, ..answered(status) };
            assert_eq!(judge(&Reply::Answered(answer)).retry_after(), expected, "{status}");
        }
    }

    #[test]
    fn an_answer_is_kept_without_what_it_repeats() {
        let request: [&[u8]; 2] = [
            br#"{"data":{"email":"ann.smith@example.com","note":"a \"b\" c"}}"#,
            b"Bearer s3cr3t-token-of-a-receiver",
        ];
        let kept = |body: &str| kept_response(body.as_bytes(), &request);
        assert_eq!(kept("no such user").as_deref(), Some("no such user"));
        assert_eq!(kept(" a\u{1b}[31m\r\nb\u{0} ").as_deref(), Some("a[31mb"));
        assert_eq!(kept(""), None);
        assert_eq!(kept("invalid: ann.smith@example.com"), None);
        assert_eq!(kept(r#"{"got":"{\"data\":{\"email\":\"ann"}"#), None);
        assert_eq!(kept("token s3cr3t-token-of-a-receiver is unknown"), None);
        assert_eq!(kept("ann.smith@exam").as_deref(), Some("ann.smith@exam"), "15 bytes at most");
        assert_eq!(kept(&"x".repeat(9000)).unwrap().len(), RESPONSE_BYTES_MAX);
        assert_eq!(kept_response(b"\xff\xfe ok", &request).as_deref(), Some("\u{fffd}\u{fffd} ok"));
    }
}
