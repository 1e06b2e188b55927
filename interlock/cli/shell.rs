//! The arguments of `interlock completions` and `interlock man`.

use clap::Args;

/// Print a script that completes commands and flags in a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  interlock completions bash >> ~/.bash_completion
  interlock completions zsh > ~/.zfunc/_interlock
  interlock completions fish > ~/.config/fish/completions/interlock.fish")]
pub(crate) struct Completions {
    /// Shell that reads the script
    pub(crate) shell: clap_complete::Shell,
}

/// Print the manual page, of all commands or of one
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  interlock man > interlock.1
  interlock man run | man -l -")]
pub(crate) struct Man {
    /// Command to describe [default: the list of all]
    #[arg(value_name = "COMMAND")]
    pub(crate) command: Option<String>,
}
