//! What the feature `failpoints` adds.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use offtake_postgres::Error;
use tokio::sync::watch;

/// Short beside anything a test waits for.
const READ_INTERVAL: Duration = Duration::from_millis(20);

/// Name → actions, as they were written.
type Points = BTreeMap<String, String>;

static POINTS: LazyLock<watch::Sender<Points>> = LazyLock::new(watch::Sender::default);
static FILE: OnceLock<PathBuf> = OnceLock::new();

/// Does what a test has set for that point.
pub async fn failpoint(name: &'static str) -> Result<(), Error> {
    let mut points = POINTS.subscribe();
    // Before the look: a change in between must end the pause.
    let text = points.borrow_and_update().get(name).cloned();
    let Some(action) = fail::eval(name, Option::unwrap_or_default) else { return Ok(()) };
    note(name);
    match action.split_once(' ').unwrap_or((&action, "")) {
        ("abort", _) => std::process::abort(),
        ("panic", _) => panic!("the failpoint {name} panics"),
        ("sleep", milliseconds) => {
            tokio::time::sleep(Duration::from_millis(milliseconds.parse().unwrap_or(0))).await
        }
        ("pause", _) => {
            let _ = points.wait_for(|points| points.get(name) != text.as_ref()).await;
        }
        _ => return Err(Error::Failpoint(name)),
    }
    Ok(())
}

/// Whether a test has set something for that point.
pub fn failpoint_is_set(name: &'static str) -> bool {
    POINTS.borrow().contains_key(name)
}

/// Takes over what the environment says, and follows the file if there is one.
pub fn listen_for_failpoints() {
    let fixed = parse(&std::env::var("FAILPOINTS").unwrap_or_default());
    let Some(file) = std::env::var_os("OFFTAKE_FAILPOINTS_FILE").map(PathBuf::from) else {
        return take_over(fixed);
    };
    let mut loaded = None;
    follow(&file, &fixed, &mut loaded);
    let watched = FILE.get_or_init(|| file);
    // A thread, because a test may want to see what happens while every task of the runtime stands
    // still.
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(READ_INTERVAL);
            follow(watched, &fixed, &mut loaded);
        }
    });
}

fn follow(file: &Path, fixed: &Points, loaded: &mut Option<String>) {
    let Ok(text) = std::fs::read_to_string(file) else { return };
    if loaded.as_ref() == Some(&text) {
        return;
    }
    take_over(fixed.clone().into_iter().chain(parse(&text)).collect());
    let _ = std::fs::write(beside(file, "loaded"), &text);
    *loaded = Some(text);
}

/// A point whose text has not changed keeps its counts.
fn take_over(points: Points) {
    let before = POINTS.borrow().clone();
    for name in before.keys().filter(|name| !points.contains_key(*name)) {
        fail::remove(name);
    }
    for (name, actions) in
        points.iter().filter(|(name, actions)| before.get(*name) != Some(*actions))
    {
        if let Err(error) = fail::cfg(name, &translate(actions)) {
            panic!("failpoint {name}={actions}: {error}");
        }
    }
    POINTS.send_replace(points);
}

fn parse(text: &str) -> Points {
    let points = text.split([';', '\n']).filter_map(|point| point.split_once('='));
    points.map(|(name, actions)| (name.trim().to_owned(), actions.trim().to_owned())).collect()
}

/// Our own actions become `return(action argument)`, which `fail` hands back to us.
fn translate(actions: &str) -> String {
    let one = |action: &str| {
        let word_at = action.rfind(['%', '*']).map_or(0, |at| at + 1);
        let (frequency, rest) = action.split_at(word_at);
        let (word, argument) = rest.split_once('(').unwrap_or((rest, ""));
        match word {
            "error" | "panic" | "abort" | "sleep" | "pause" => {
                format!("{frequency}return({word} {})", argument.trim_end_matches(')'))
            }
            _ => action.to_owned(),
        }
    };
    actions.split("->").map(|action| one(action.trim())).collect::<Vec<_>>().join("->")
}

/// One write, so that the line is whole even if the process ends with it.
fn note(name: &str) {
    if let Some(file) = FILE.get()
        && let Ok(mut reached) =
            std::fs::File::options().create(true).append(true).open(beside(file, "reached"))
    {
        let _ = reached.write_all(format!("{name}\n").as_bytes());
    }
}

fn beside(file: &Path, what: &str) -> PathBuf {
    file.with_extension(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_actions_come_back_to_us() {
        let check = |actions: &str, expect: &str| assert_eq!(translate(actions), expect);
        check("abort", "return(abort )");
        check("25%2*sleep(150)", "25%2*return(sleep 150)");
        check("3*off->1*error->print(x)", "3*off->1*return(error )->print(x)");
    }
}
