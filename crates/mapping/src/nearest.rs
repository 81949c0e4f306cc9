//! Which known name a misspelt one most likely stands for.

/// No known name with more differing letters is suggested, however long the misspelt one is.
const DISTANCE_MAX: usize = 4;

/// A name with more characters is not compared with others.
const LENGTH_MAX: usize = 200;

/// The known name nearest to `name`. None when even that one differs in more than half of the
/// letters of `name`, or in more than [`DISTANCE_MAX`]: then it is another name, not a misspelling.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = name.chars().count();
    // Comparing takes the product of the lengths, and names may come from outside.
    let comparable = |k: &&str| {
        length <= LENGTH_MAX
            && k.len() <= 4 * LENGTH_MAX
            && k.chars().count().abs_diff(length) <= DISTANCE_MAX
    };
    let (distance, near) =
        known.into_iter().filter(comparable).map(|k| (strsim::levenshtein(name, k), k)).min()?;
    (distance <= length.div_ceil(2).min(DISTANCE_MAX)).then_some(near)
}

/// A remedy for an unknown name: "did you mean `x`?", or the list of all known names when none is
/// near. `what` says what they are: `keys here`, `columns`.
pub fn suggestion<'a>(
    name: &str,
    what: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    match nearest(name, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!(
            "the {what} are {}",
            known.into_iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_near_is_suggested() {
        let known = ["depends_on", "query", "source", "target"];
        assert_eq!(nearest("depend_on", known), Some("depends_on"));
        assert_eq!(nearest("targets", known), Some("target"));
        assert_eq!(nearest("colour_of_it", known), None);
        assert_eq!(suggestion("targets", "keys here", known), "did you mean `target`?");
        assert_eq!(suggestion("zz", "keys here", ["a", "b"]), "the keys here are `a`, `b`");
    }
}
