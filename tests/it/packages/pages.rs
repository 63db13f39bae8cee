//! Man pages and completions, as groff, man and shells read them.

use super::*;

fn man_pages() -> (TempDir, Vec<PathBuf>) {
    let dir = TempDir::new();
    printed(natpulse().arg("man").arg(dir.path()));
    let mut pages = files(dir.path(), "1");
    pages.extend(files(dir.path(), "5"));
    (dir, pages)
}

#[test]
fn man_pages_are_set_without_a_warning() {
    let (_dir, pages) = man_pages();
    assert!(pages.len() > 8, "{pages:?}");
    for page in pages {
        printed(Command::new(program("groff")).args(["-man", "-Tutf8", "-ww", "-z"]).arg(&page));
    }
}

#[test]
fn every_command_has_a_page_which_says_what_its_help_says() {
    let (dir, _) = man_pages();
    let help = printed(natpulse().arg("--help"));
    let commands = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let commands = commands.lines().filter_map(|line| line.split_whitespace().next());
    let commands: Vec<_> = commands.filter(|command| *command != "help").collect();
    assert!(commands.len() > 8, "{commands:?}");
    let pages = commands.iter().map(|command| format!("natpulse-{command}.1"));
    for page in pages.chain(["natpulse.1".to_owned()]) {
        let text =
            fs::read_to_string(dir.path().join(&page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(text.starts_with(".ie") && text.contains(".SH OPTIONS"), "{page}: {text}");
    }
    let alone = printed(natpulse().arg("man"));
    assert_eq!(alone, fs::read_to_string(dir.path().join("natpulse.1")).unwrap());
}

/// The lines of a text without what a terminal would do with them, and without indentation.
fn shown(page: &Path) -> Vec<String> {
    let mut groff = Command::new(program("groff"));
    groff.args(["-man", "-Tutf8", "-P-cbou", "-rLL=200n"]).arg(page);
    printed(&mut groff).lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn the_page_of_the_config_file_is_the_config_file() {
    let (dir, _) = man_pages();
    let shown = shown(&dir.path().join("natpulse.toml.5"));
    let config = text("config.toml");
    let wanted: Vec<_> = config.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let start = shown.iter().position(|line| line == wanted[0]).unwrap();
    let lines: Vec<_> = shown[start..].iter().filter(|line| !line.is_empty()).take(wanted.len()).collect();
    assert_eq!(lines, wanted);
}

#[test]
fn bash_completes_commands_flags_and_shells() {
    let dir = TempDir::new();
    let script = dir.path().join("natpulse.bash");
    fs::write(&script, printed(natpulse().args(["completions", "bash"]))).unwrap();
    let complete = |words: &str| {
        let bash = r#"source "$1"; COMP_WORDS=($2); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            _natpulse natpulse "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"; echo "${COMPREPLY[@]}""#;
        let mut command = Command::new(program("bash"));
        printed(command.args(["--norc", "-c", bash, "bash"]).arg(&script).arg(words)).trim().to_owned()
    };
    assert_eq!(complete("natpulse ch"), "check");
    assert_eq!(complete("natpulse bridge --frami"), "--framing");
    assert_eq!(complete("natpulse completions z"), "zsh");
    assert_eq!(complete("natpulse drain --w"), "--wait");
}

#[test]
fn every_shell_that_it_knows_gets_something_and_another_is_told() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(printed(natpulse().args(["completions", shell])).contains("drain"), "{shell}");
    }
    let (is_good, said) = said(natpulse().args(["completions", "tcsh"]));
    assert!(!is_good && said.contains("[possible values: bash, elvish, fish, powershell, zsh]"), "{said}");
    let (is_good, said) = super::said(natpulse().args(["man", "/nonexistent"]));
    assert!(!is_good && said.contains("cannot write: No such file"), "{said}");
}
