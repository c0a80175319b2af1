//! Shows what a newcomer meets: `make up` says in one line what it lacks, before it builds; shows what the README shows; prints
//! only links that answer; and ends what it started.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::kit::wait::{self, Setback, not_yet};
use harness::kit::{port, workspace};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Variables of the ports that `make up OBSERVE=1` listens on.
const PORTS: [&str; 4] = ["PORT", "INDEX_PORT", "DYNAMODB_PORT", "PROMETHEUS_PORT"];
const PATIENCE: Duration = Duration::from_secs(120);
/// Longest time until every process is gone after its owner was told to end, or was killed.
const ENDING: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_leaves_nothing_behind_and_a_second_start_works() -> Result<()> {
    let mut up = Up::start()?;
    for signal in [Signal::INT, Signal::TERM] {
        up.is_up().await?;
        ensure!(up.signal_and_wait(signal).await?.success(), "{}", up.output()?);
        ensure!(up.processes().is_empty(), "{signal:?} left {:?}", up.processes());
        up = up.again()?;
    }
    up.is_up().await?;
    up.delete_logs()
}

/// Shows that the watchdogs end everything when the owner is killed, since no destructor runs then.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_outlives_a_killed_owner() -> Result<()> {
    let mut up = Up::start()?;
    up.is_up().await?;
    up.signal_and_wait(Signal::KILL).await?;
    wait::until("everything is gone", ENDING, async || match up.processes() {
        left if left.is_empty() => Ok(()),
        left => not_yet(format!("{left:?} are left")),
    })
    .await?;
    up.delete_logs()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_said_by_name() -> Result<()> {
    for variable in PORTS {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let taken = holder.local_addr()?.port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
        command.arg("up").env("OBSERVE", "1");
        for port in PORTS {
            command.env(port, port::free()?.to_string());
        }
        let output = command.env(variable, taken.to_string()).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
        ensure!(said.starts_with(&format!("{variable} {taken} is taken")), "{said}");
        ensure!(said.trim_end().lines().count() == 1, "{said}");
    }
    Ok(())
}

/// Wrong settings, and the number of faults in them.
const WRONG_SETTINGS: [(&[(&str, &str)], usize); 12] = [
    (&[("PORT", "http")], 1),
    (&[("PORT", "0"), ("INDEX_PORT", "65536"), ("DYNAMODB_PORT", "8000.0"), ("PROMETHEUS_PORT", "-1")], 4),
    (&[("CONCURRENCY", "17"), ("PERSIST", "yes"), ("OBSERVE", "2")], 3),
    (&[("METRICS_TOKEN", "two words")], 1),
    (&[("PORT", "99999999999999999999")], 1),
    (&[("OBSERVE", "true"), ("PORT", "$(id)")], 2),
    (&[("PORT", ""), ("METRICS_TOKEN", " ")], 2),
    // Two servers on one port, which may be the default of one of them.
    (&[("INDEX_PORT", "9000")], 1),
    (&[("PORT", "8080"), ("INDEX_PORT", "8080"), ("DYNAMODB_PORT", "8080")], 2),
    (&[("DYNAMODB_PORT", "65534"), ("PORT", "65535")], 1),
    (&[("PROMETHEUS_PORT", "9001"), ("OBSERVE", "1")], 1),
    (&[("PORT", "x"), ("DYNAMODB_PORT", "09090"), ("PROMETHEUS_PORT", "9090"), ("OBSERVE", "1")], 2),
];

/// Shows that the script refuses without cargo, so before anything is built, and that the program, which reads the settings
/// again, says the same.
#[test]
fn a_wrong_setting_is_refused_before_the_build_in_the_words_of_the_program() -> Result<()> {
    let tools = path_without(&["cargo", "rustc"])?;
    for (settings, faults) in WRONG_SETTINGS {
        let refused = |mut command: Command| -> Result<String> {
            let output = command.envs(settings.iter().copied()).output()?;
            ensure!(!output.status.success() && output.stdout.is_empty(), "{settings:?}: {output:?}");
            Ok(String::from_utf8(output.stderr)?)
        };
        let mut script = Command::new(which("bash")?);
        script.arg(workspace::root().join("scripts/up")).env("PATH", tools.path());
        let mut program = Command::new(env!("CARGO_BIN_EXE_harness"));
        program.arg("up");
        let (script, program) = (refused(script)?, refused(program)?);
        ensure!(script == program, "{settings:?}: the script says {script}, and the program {program}");
        for (variable, _) in settings {
            ensure!(script.matches(&format!(" {variable} is ")).count() <= 1, "{variable} twice in {script}");
        }
        ensure!(script.lines().count() == if faults == 1 { 1 } else { faults + 1 }, "{script}");
    }
    Ok(())
}

/// Shows that the script itself looks at the ports while there is no built program that would.
#[test]
fn a_taken_port_is_refused_before_the_first_build() -> Result<()> {
    let (tools, nothing_built) = (path_without(&["cargo", "rustc"])?, TempDir::new()?);
    for variable in PORTS {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let taken = holder.local_addr()?.port();
        let mut script = Command::new(which("bash")?);
        script.arg(workspace::root().join("scripts/up")).env("PATH", tools.path()).env("OBSERVE", "1");
        for port in PORTS {
            script.env(port, port::free()?.to_string());
        }
        script.env("CARGO_TARGET_DIR", nothing_built.path()).env(variable, taken.to_string());
        let output = script.output()?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(said == format!("{variable} {taken} is taken: choose another with {variable}=…\n"), "{said}");
        ensure!(!output.status.success(), "it went on");
    }
    Ok(())
}

/// Runs every script that needs cargo, not only the one that a newcomer tries first.
#[test]
fn without_cargo_every_target_says_so_in_one_line() -> Result<()> {
    let tools = path_without(&["cargo", "rustc"])?;
    for script in ["up", "check", "test", "fuzz", "soak", "package", "dashboards", "dashboards-json"] {
        let mut command = Command::new(which("bash")?);
        command.arg(workspace::root().join("scripts").join(script)).env("PATH", tools.path());
        let output = command.output()?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(said.starts_with("Rust 1.") && said.contains("or later with cargo is missing: "), "{script}: {said}");
        ensure!(!output.status.success() && said.lines().count() == 1, "{script}: {said}");
    }
    Ok(())
}

/// Runs what the README's transcript types against a fresh bundle, and compares the output with what the transcript shows,
/// except for ids, tokens and times. Only the page of metrics is asked for repeatedly, since an environment publishes after its
/// response.
#[tokio::test(flavor = "multi_thread")]
async fn the_readme_transcript_matches_the_output() -> Result<()> {
    let readme = std::fs::read_to_string(workspace::root().join("README.md"))?;
    let (_, rest) = readme.split_once("```console\n$ make up\n").context("a transcript that begins with make up")?;
    let (transcript, _) = rest.split_once("\n```").context("its end")?;
    let (started, typed) = transcript.split_once("\n$ # in another shell").context("a second shell")?;
    let (_, typed) = typed.split_once('\n').context("more than a comment")?;

    let mut up = Up::start()?;
    let said = up.is_up().await?;
    let here = |text: &str| {
        let [port, index, dynamodb, _] = up.ports;
        text.replace("127.0.0.1:9000", &format!("127.0.0.1:{port}"))
            .replace("127.0.0.1:9001", &format!("127.0.0.1:{index}"))
            .replace("on port 8000", &format!("on port {dynamodb}"))
            .replace("logs/up-9000", &format!("logs/up-{port}"))
    };
    let shown = here(started);
    let first: Vec<&str> = said.lines().take(shown.trim_end().lines().count()).collect();
    ensure_shown(&shown, &first.join("\n"))?;

    const NEXT: &str = "--- next";
    let typed = format!("\n{}", here(typed));
    let steps: Vec<(&str, &str)> =
        typed.split("\n$ ").skip(1).map(|step| step.split_once('\n').unwrap_or((step, ""))).collect();
    let all: String = steps.iter().map(|(command, _)| format!("{command}\necho; echo '{NEXT}'\n")).collect();
    let came = in_a_shell(&all)?;
    ensure!(came.matches(NEXT).count() == steps.len(), "the shell has not come to the end:\n{came}");
    for ((command, shown), came) in steps.iter().zip(came.split(NEXT)) {
        if command.contains("/metrics") {
            wait::until("the page counts what was typed", ENDING, async || {
                ensure_shown(shown, &in_a_shell(command)?).map_err(Setback::Later)
            })
            .await?;
        } else {
            ensure_shown(shown, came).with_context(|| (*command).to_owned())?;
        }
    }
    up.delete_logs()
}

fn in_a_shell(commands: &str) -> Result<String> {
    let output = Command::new("bash").current_dir(workspace::root()).args(["-c", commands]).output()?;
    Ok(String::from_utf8(output.stdout)?)
}

/// Returns an error unless the same lines came, in the same order.
fn ensure_shown(shown: &str, came: &str) -> Result<()> {
    let lines = |text: &str| text.trim().lines().map(without_what_changes).collect::<Vec<_>>();
    let (shown, came) = (lines(shown), lines(came));
    ensure!(shown == came, "the README shows\n{}\nbut the output was\n{}", shown.join("\n"), came.join("\n"));
    Ok(())
}

/// Returns the line with placeholders for ids, times and tokens.
fn without_what_changes(line: &str) -> String {
    let words = line.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && !"-:_.…".contains(c));
    let words = words.map(|word| {
        let bare = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric() && c != '…');
        let digits = |c: char| if c.is_ascii_digit() { '0' } else { c };
        let kind = if bare.starts_with("eyJ") {
            "TOKEN"
        } else if bare.len() == 36 && bare.bytes().filter(|byte| *byte == b'-').count() == 4 {
            "ID"
        } else if bare.chars().map(digits).eq("0000-00-00T00:00:00Z".chars()) {
            "TIME"
        } else {
            bare
        };
        format!("{kind}{}", &word[bare.len()..])
    });
    let line: String = words.collect();
    // Drops the time that a step of the self-check took.
    match line.rsplit_once(" (") {
        Some((step, time)) if time.ends_with(" ms)") => step.to_owned(),
        _ => line,
    }
}

/// Shows that every link that is printed or on the page of links answers. In a browser, the dashboards must show what the
/// self-check has just done, on a desktop and on a phone, and say in one line that Prometheus hangs or is gone.
#[tokio::test(flavor = "multi_thread")]
async fn links_answer_and_dashboards_show_true_numbers() -> Result<()> {
    let mut up = Up::start_observed()?;
    let said = up.is_up().await?;
    let [_, index, _, prometheus] = up.ports;
    let index = format!("http://127.0.0.1:{index}/");
    // Commands contain addresses too, but those need more than a GET request.
    let printed = said.lines().filter(|line| !line.contains("curl ")).flat_map(str::split_whitespace);
    let printed: BTreeSet<String> = printed.filter(|word| word.starts_with("http")).map(str::to_owned).collect();
    let pages = ["", "metrics", "tables"].map(|path| format!("{index}{path}"));
    ensure!(printed.is_superset(&BTreeSet::from(pages)), "{said}");

    let http = reqwest::Client::builder().no_proxy().build()?;
    let get = async |url: &str| -> Result<String> {
        let answer = http.get(url).send().await?;
        ensure!(answer.status() == 200, "{} for {url}", answer.status());
        Ok(answer.text().await?)
    };
    let linked: BTreeSet<String> = get(&index)
        .await?
        .split("href=\"")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()))
        .filter(|link| !link.starts_with("data:"))
        .map(|link| if link.starts_with('/') { format!("{}{link}", index.trim_end_matches('/')) } else { link })
        .collect();
    let logs = ["functions.log", "dynamodb.log", "prometheus.log"].map(|name| format!("{index}logs/{name}"));
    ensure!(linked.is_superset(&BTreeSet::from(logs)), "{linked:?}");
    for link in printed.union(&linked) {
        ensure!(!get(link).await?.is_empty(), "{link} is empty");
    }

    let order = serde_json::json!({
        "url": format!("http://127.0.0.1:{prometheus}/user/"),
        "prometheus": up.process_of("--web.listen-address")?,
        "numbers": { "Sigils encoded": 1, "Tokens verified": 2 },
        "alerts": std::fs::read_to_string(workspace::root().join("dashboards/alerts.yml"))?.matches("- alert:").count(),
        "folder": workspace::local("logs/tests/pages"),
    });
    let mut browser = Command::new("node")
        .current_dir(workspace::root().join("dashboards/draw"))
        .arg("pages.mjs")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    browser.stdin.take().context("it has an input")?.write_all(order.to_string().as_bytes())?;
    let seen = tokio::task::spawn_blocking(move || browser.wait_with_output()).await??;
    ensure!(seen.status.success(), "{}", String::from_utf8_lossy(&seen.stderr));

    // The script has killed Prometheus as its last step.
    let status = wait::until("it ends", ENDING, async || {
        up.process.try_wait().map_err(|error| Setback::Final(error.into()))?.map_or_else(|| not_yet("it runs"), Ok)
    })
    .await?;
    let said = up.output()?;
    ensure!(!status.success() && said.matches("Prometheus has ended").count() == 1, "{said}");
    up.delete_logs()
}

#[test]
fn a_missing_tool_is_one_clear_line() -> Result<()> {
    for (missing, said) in [
        ("java", "Java 17 or later is missing: "),
        ("node", "Node 18 or later with npm is missing: "),
        ("python3", "Python 3.8 or later with pip is missing: "),
    ] {
        let output = fetch_tools_without(&[missing])?;
        let error = String::from_utf8(output.stderr)?;
        ensure!(!output.status.success(), "without {missing} it went well");
        ensure!(error.starts_with(said) && error.trim_end().lines().count() == 1, "without {missing}: {error}");
    }
    let all = String::from_utf8(fetch_tools_without(&["java", "node", "python3", "cargo", "rustc"])?.stderr)?;
    ensure!(all.trim_end().lines().count() == 4, "{all}");
    Ok(())
}

/// Runs the script with a PATH that has everything it uses except the missing programs.
fn fetch_tools_without(missing: &[&str]) -> Result<Output> {
    let tools = path_without(missing)?;
    let script = workspace::root().join("scripts/fetch-tools");
    Ok(Command::new(which("bash")?).arg(script).arg("up").env("PATH", tools.path()).output()?)
}

/// Returns a folder to use as the PATH, with everything that the scripts use except the missing programs.
fn path_without(missing: &[&str]) -> Result<TempDir> {
    const USED: [&str; 18] = [
        "bash", "cargo", "cat", "cc", "cksum", "cp", "dirname", "env", "java", "make", "mkdir", "mv", "node", "npm",
        "python3", "rm", "rustc", "sed",
    ];
    let folder = TempDir::new()?;
    for name in USED.iter().filter(|name| !missing.contains(name)) {
        let file = folder.path().join(name);
        match *name {
            // The programs that these two start must see this PATH as well.
            "bash" | "env" => std::os::unix::fs::symlink(which(name)?, file)?,
            _ => write_wrapper(&file, &which(name)?)?,
        }
    }
    Ok(folder)
}

/// Writes a script that starts the program with the usual PATH. A link would not do: version managers put scripts on the PATH,
/// which look for each other there.
fn write_wrapper(file: &Path, program: &Path) -> Result<()> {
    let path = std::env::var("PATH")?;
    std::fs::write(file, format!("#!/bin/sh\nPATH='{path}' exec '{}' \"$@\"\n", program.display()))?;
    Ok(std::fs::set_permissions(file, Permissions::from_mode(0o755))?)
}

fn which(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").context("PATH is not set")?;
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    found.with_context(|| format!("{name} is needed for this test"))
}

/// A `harness up` on its own ports, with a mark in its environment, which everything that it starts inherits.
struct Up {
    process: Child,
    mark: String,
    ports: [u16; 4],
    observe: bool,
}

impl Up {
    fn start() -> Result<Self> {
        Self::on([port::free()?, port::free()?, port::free()?, port::free()?], false)
    }

    /// Starts one with Prometheus and the dashboards beside it.
    fn start_observed() -> Result<Self> {
        Self::on([port::free()?, port::free()?, port::free()?, port::free()?], true)
    }

    /// Starts another one on the same ports. The first one must have ended.
    fn again(&mut self) -> Result<Self> {
        Self::on(self.ports, self.observe)
    }

    fn on(ports: [u16; 4], observe: bool) -> Result<Self> {
        let mark = format!("{}-{}", std::process::id(), ports[0]);
        let process = Command::new(env!("CARGO_BIN_EXE_harness"))
            .arg("up")
            .envs(PORTS.into_iter().zip(ports.map(|port| port.to_string())))
            .env("OBSERVE", if observe { "1" } else { "0" })
            .env("MAKE_UP_TEST", &mark)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        Ok(Self { process, mark, ports, observe })
    }

    /// Waits until the program has said that it is up, and returns everything that it has printed.
    async fn is_up(&mut self) -> Result<String> {
        let mut stdout = self.process.stdout.take().context("it was taken")?;
        let said = tokio::task::spawn_blocking(move || {
            let (mut said, mut chunk) = (Vec::new(), [0; 4096]);
            loop {
                match stdout.read(&mut chunk)? {
                    0 => anyhow::bail!("it ended after saying: {}", String::from_utf8_lossy(&said)),
                    length => said.extend_from_slice(&chunk[..length]),
                }
                // The program's last line, apart from an empty one.
                if said.ends_with(b"/metrics\n\n") {
                    return Ok((String::from_utf8(said)?, stdout));
                }
            }
        });
        let (said, stdout) = tokio::time::timeout(PATIENCE, said).await???;
        self.process.stdout = Some(stdout);
        ensure!(said.contains("The bundle is up") && !said.contains('✗'), "{said}");
        ensure!(!self.processes().is_empty() || !Path::new("/proc/self").exists(), "the mark finds nothing");
        Ok(said)
    }

    async fn signal_and_wait(&mut self, signal: Signal) -> Result<std::process::ExitStatus> {
        let process = Pid::from_child(&self.process);
        kill_process(process, signal)?;
        wait::until("it ends", ENDING, async || {
            match self.process.try_wait().map_err(|error| Setback::Final(error.into()))? {
                Some(status) => Ok(status),
                None => not_yet("it runs"),
            }
        })
        .await
    }

    fn output(&mut self) -> Result<String> {
        let mut said = String::new();
        if let Some(mut stderr) = self.process.stderr.take() {
            stderr.read_to_string(&mut said)?;
        }
        Ok(said)
    }

    /// Deletes the logs, at the end of a test that passed. A failed test leaves them for reading.
    fn delete_logs(&self) -> Result<()> {
        Ok(std::fs::remove_dir_all(workspace::local(&format!("logs/up-{}", self.ports[0])))?)
    }

    /// Returns the id of the process whose command contains this text.
    fn process_of(&self, part: &str) -> Result<u32> {
        let found = self.marked().into_iter().find(|(_, command)| command.contains(part));
        Ok(found.with_context(|| format!("no process has {part} in its command"))?.0)
    }

    fn processes(&self) -> Vec<String> {
        self.marked().into_iter().map(|(_, command)| command).collect()
    }

    /// Returns the ids and commands of every process that has the mark. Only Linux lets one look; elsewhere the list is empty,
    /// and a process that is left over shows as a taken port at the next start.
    fn marked(&self) -> Vec<(u32, String)> {
        let mark = format!("MAKE_UP_TEST={}", self.mark);
        let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
        entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|process| {
                let environment = std::fs::read(process.join("environ")).unwrap_or_default();
                environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
            })
            .filter_map(|process| {
                let id = process.file_name()?.to_str()?.parse().ok()?;
                Some((id, std::fs::read_to_string(process.join("cmdline")).ok()?.replace('\0', " ")))
            })
            .collect()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
