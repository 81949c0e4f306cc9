//! What a package installs beside the program: completions for shells and manual pages.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub struct Completions {
    /// The shell that is to complete commands.
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub struct Manual {
    /// An existing folder. A file of the same name in it is overwritten.
    pub folder: PathBuf,
}
