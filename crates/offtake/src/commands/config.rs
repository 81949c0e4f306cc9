//! `offtake config`.

use std::path::Path;

use super::{load_configuration, say};
use crate::command_line::Config;
use crate::configuration::{SCHEMA, example};
use crate::outcome::{Exit, Failure};

pub(super) fn execute(file: &Path, arguments: &Config) -> Result<Exit, Failure> {
    if arguments.schema {
        say(SCHEMA.trim_end());
        return Ok(Exit::Done);
    }
    if arguments.example {
        say(example().trim_end());
        return Ok(Exit::Done);
    }
    let masked = load_configuration(file)?.masked();
    let unprintable = |error: &dyn std::fmt::Display| {
        Failure::new(Exit::Failed, "cannot print the configuration").because(error.to_string())
    };
    if arguments.json {
        say(serde_json::to_string_pretty(&masked).map_err(|e| unprintable(&e))?);
    } else {
        say(serde_yaml::to_string(&masked).map_err(|e| unprintable(&e))?.trim_end());
    }
    Ok(Exit::Done)
}
