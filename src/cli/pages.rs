//! What is made of the command line and installed beside the program: completions for shells, and man pages.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man as Roff;

use super::{Cli, Man};

/// What the pages say at their foot.
const SOURCE: &str = concat!("natpulse ", env!("CARGO_PKG_VERSION"));

impl Cli {
    /// Writes what is made of these words themselves, to standard output or where it is asked for; nothing if something
    /// else is asked for.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn pages(&self) -> Option<io::Result<()>> {
        let text = match &self.command {
            Some(super::Command::Completions(which)) => completions(which.shell),
            Some(super::Command::Man(Man { dir: Some(dir) })) => return Some(man_pages(dir)),
            Some(super::Command::Man(Man { dir: None })) => page(built()),
            _ => return None,
        };
        Some(text.and_then(|text| io::stdout().write_all(text.as_bytes())))
    }
}

/// What makes this shell complete natpulse's words.
fn completions(shell: Shell) -> io::Result<String> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "natpulse", &mut script);
    String::from_utf8(script).map_err(io::Error::other)
}

/// Writes natpulse(1), a page for each subcommand, and natpulse.toml(5).
fn man_pages(dir: &Path) -> io::Result<()> {
    let natpulse = built();
    for subcommand in natpulse.get_subcommands() {
        fs::write(dir.join(Roff::new(subcommand.clone()).get_filename()), page(subcommand.clone())?)?;
    }
    fs::write(dir.join("natpulse.1"), page(natpulse)?)?;
    fs::write(dir.join("natpulse.toml.5"), config_page(include_str!("../../config.toml")))
}

fn built() -> Command {
    let mut command = Cli::command().disable_help_subcommand(true);
    // Subcommands learn their full names.
    command.build();
    command
}

/// A page as clap has it, but for the end of the help, whose lines stay as they are.
fn page(command: Command) -> io::Result<String> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let notes = command.get_after_help().map(|help| help.to_string());
    let has_subcommands = command.has_subcommands();
    let man = Roff::new(command).title(name).source(SOURCE);
    let mut roff = Vec::new();
    man.render_title(&mut roff)?;
    man.render_name_section(&mut roff)?;
    man.render_synopsis_section(&mut roff)?;
    man.render_description_section(&mut roff)?;
    man.render_options_section(&mut roff)?;
    if has_subcommands {
        man.render_subcommands_section(&mut roff)?;
    }
    let mut text: String = String::from_utf8_lossy(&roff).chars().map(plain).collect();
    if let Some(notes) = notes {
        text.push_str(".SH NOTES\n");
        text.push_str(&as_it_stands(&notes));
    }
    Ok(text)
}

/// The manual of the config file is the default config itself, which has every key with what it means.
fn config_page(config: &str) -> String {
    format!(
        ".TH natpulse.toml 5 \"\" \"{SOURCE}\"\n.SH NAME\nnatpulse.toml \\- the configuration of natpulse\n\
         .SH DESCRIPTION\nThe file that natpulse(1) reads: config.toml, or what \\-c names. What follows is the default, \
         as it is shipped.\n.SH THE FILE\n{}.SH SEE ALSO\nnatpulse(1), natpulse\\-check(1)\n",
        as_it_stands(config)
    )
}

/// Text whose lines are neither filled nor obeyed.
fn as_it_stands(text: &str) -> String {
    let mut roff = ".nf\n".to_owned();
    for line in text.lines() {
        // A dot or a quote at the start of a line would be a command; \& is nothing that stands in front of it.
        roff.push_str("\\&");
        line.chars().for_each(|char| match char {
            '\\' => roff.push_str("\\e"),
            '-' => roff.push_str("\\-"),
            '\'' => roff.push_str("\\(aq"),
            '^' => roff.push_str("\\(ha"),
            '`' => roff.push_str("\\(ga"),
            '~' => roff.push_str("\\(ti"),
            char => roff.push_str(&plain(char)),
        });
        roff.push('\n');
    }
    roff.push_str(".fi\n");
    roff
}

/// A character in ASCII, which is all that roff takes from a file of unknown encoding.
fn plain(char: char) -> String {
    if char.is_ascii() { char.to_string() } else { format!("\\[u{:04X}]", u32::from(char)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_a_text_is_a_command_of_the_page() {
        let roff = as_it_stands(".so /etc/passwd\n'tis\na \\fB-b\\fR ^`~ 'c'…");
        let lines = [
            ".nf",
            "\\&.so /etc/passwd",
            "\\&\\(aqtis",
            "\\&a \\efB\\-b\\efR \\(ha\\(ga\\(ti \\(aqc\\(aq\\[u2026]",
            ".fi",
        ];
        assert_eq!(roff.lines().collect::<Vec<_>>(), lines);
    }
}
