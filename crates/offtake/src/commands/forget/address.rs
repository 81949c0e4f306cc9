//! The address of a destination that nothing names any more. The registry keeps it without the
//! password, so the operator gives it, in a way that shows the password to no other process.

use std::path::Path;
use std::sync::Arc;

use offtake_admin::operations::Kept;
use offtake_mapping::{Identifier, foreign};
use offtake_postgres::ConnectionString;
use offtake_sync::destinations::{D1Database, DatabaseFile, Place};

use super::{label, place};
use crate::arguments::shown;
use crate::command_line::Forget;
use crate::configuration::substituted;
use crate::context::{Context, environment, text_file};
use crate::outcome::{Exit, Failure};

/// Where the destination is; None where `--purge` was not given.
pub(super) fn read(
    context: &Context,
    arguments: &Forget,
    kept: &[Kept],
) -> Result<Option<Place>, Failure> {
    let (true, [kept]) = (arguments.purge, kept) else { return Ok(None) };
    if kept.host.is_empty() && !kept.database.is_empty() {
        return of_file(context, kept).map(Some);
    }
    if kept.host.is_empty() {
        let message = format!("the registry knows no place of {}", label(kept));
        return Err(Failure::new(Exit::Usage, message)
            .because("its entry could never be used, so nothing was copied")
            .remedy("run `offtake forget` without --purge"));
    }
    if let Some(place) = of_d1(context, kept) {
        return place.map(Some);
    }
    let base = context.configuration.file.parent().unwrap_or(Path::new(""));
    let url = match (&arguments.url, &arguments.url_file) {
        (Some(url), _) => of_argument(url, base)?,
        (None, Some(file)) => text_file::read(file, text_file::SECRET_BYTES_MAX)
            .map_err(|error| {
                let what = format!("cannot read {}", shown(&file.to_string_lossy()));
                Failure::new(Exit::Usage, what).because(error.to_string())
            })?
            .trim()
            .to_owned(),
        (None, None) => return Err(missing(kept)),
    };
    let url = ConnectionString::destination(&url, arguments.ca_file.as_deref());
    let url = url.map_err(|error| {
        Failure::new(Exit::Usage, format!("the URL {}", error.what))
            .because(error.why)
            .remedy(error.remedy)
    })?;
    let known = (kept.host.as_str(), kept.port, kept.database.as_str());
    if (url.host(), i32::from(url.port()), url.database()) != known {
        let (label, there) = (label(kept), foreign(&url.place()).into_owned());
        let message = format!("{label} was kept {}, and the URL leads to {there}", place(kept));
        return Err(Failure::new(Exit::Usage, message)
            .remedy("give the URL of the database that the destination was last copied to"));
    }
    let schema = Identifier::new(kept.schema.as_str()).map_err(|error| {
        Failure::new(Exit::Failed, format!("{} cannot be purged", label(kept)))
            .because(error.to_string())
    })?;
    Ok(Some(Place::Postgres { url, schema }))
}

/// A file, of which the registry keeps everything.
fn of_file(context: &Context, kept: &Kept) -> Result<Place, Failure> {
    let url = format!("sqlite://{}", kept.database);
    let allowed = &context.configuration.security.allow_files;
    let file = DatabaseFile::parse(&url, None, allowed).map_err(|error| {
        Failure::new(Exit::Usage, format!("{} cannot be purged", label(kept)))
            .because(error.why)
            .remedy(error.remedy)
    })?;
    Ok(Place::Sqlite(Arc::new(file)))
}

/// The variable that the tools of Cloudflare read.
const TOKEN_VARIABLE: &str = "CLOUDFLARE_API_TOKEN";

/// A D1 database, of which the registry keeps all but the token.
fn of_d1(context: &Context, kept: &Kept) -> Option<Result<Place, Failure>> {
    let url = format!("d1://{}", kept.database);
    let settings = &context.configuration.destinations.d1;
    let parse = |token: &str| D1Database::parse(&url, Some(token), settings);
    parse("none").ok()?;
    let failure = |why: String, remedy: String| {
        let what = format!("{} cannot be purged", label(kept));
        Failure::new(Exit::Usage, what).because(why).remedy(remedy)
    };
    let Some(token) = environment().remove(TOKEN_VARIABLE) else {
        let why = "the registry keeps a D1 database without its token".to_owned();
        return Some(Err(failure(why, format!("put the token into {TOKEN_VARIABLE}"))));
    };
    let database = parse(&token).map_err(|error| failure(error.why, error.remedy));
    Some(database.map(|database| Place::D1(Arc::new(database))))
}

/// The value of `--url`. A password in it would be seen by every process of this machine.
fn of_argument(url: &str, base: &Path) -> Result<String, Failure> {
    if has_password(url) {
        return Err(Failure::new(Exit::Usage, "--url has a password in it")
            .because("other processes of this machine see the command line")
            .remedy(
                "put the URL into a variable and write --url '${VARIABLE}', in single quotes, or \
                 into a file and write --url-file FILE",
            ));
    }
    substituted(url, base, &environment()).map_err(|(message, remedy)| {
        Failure::new(Exit::Usage, format!("--url: {message}")).remedy(remedy)
    })
}

/// Whether a password stands in the text itself, and not in what its `${…}` stand for.
pub(in crate::commands) fn has_password(url: &str) -> bool {
    let literal = |text: &str| !text.is_empty() && !text.starts_with("${");
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let of_user = authority
        .rsplit_once('@')
        .and_then(|(user, _)| user.split_once(':'))
        .is_some_and(|(_, password)| literal(password));
    let of_parameter = url.split_once("password=").is_some_and(|(_, password)| literal(password));
    of_user || of_parameter
}

fn missing(kept: &Kept) -> Failure {
    let Kept { host, port, database, user, .. } = kept;
    let url = format!("postgres://{user}:…@{host}:{port}/{database}");
    Failure::new(Exit::Usage, format!("--purge needs the URL of {}", label(kept)))
        .because(format!("the registry keeps it without the password: {}", foreign(&url)))
        .remedy(
            "put the URL into a variable and add --url '${VARIABLE}', in single quotes, or put it \
             into a file and add --url-file FILE",
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_taken_from_the_command_line() {
        for url in [
            "postgres://u:Canary@h/d",
            "postgres://u:Can@ry@h/d",
            "postgres://u:Canary@${HOST}/d",
            "postgres://h/d?user=u&password=Canary",
            "host=h password=Canary",
        ] {
            let failure = of_argument(url, Path::new("")).unwrap_err().report();
            assert!(failure.contains("has a password") && !failure.contains("Can"), "{failure}");
        }
        for url in
            ["${URL}", "postgres://u@h/d", "postgres://u:${PASSWORD}@h/d", "${file:/run/url}"]
        {
            assert!(!has_password(url), "{url}");
        }
    }
}
