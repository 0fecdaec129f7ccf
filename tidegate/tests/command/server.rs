//! A server that answers what a test tells it to, on a port of its own. Owns just enough HTTP/1.1 for the command.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What one request gets.
pub(crate) enum Reply {
    Json(u16, String),
    /// Lines of a stream, after which the connection is broken off.
    Stream(String),
    /// Lines of a stream that ends as it should.
    Lines(String),
    /// The connection is closed without an answer.
    Nothing,
}

/// `METHOD PATH` of every request so far.
pub(crate) type Asked = Arc<Mutex<Vec<String>>>;

/// Starts it; `answer` is given the number of the request, from 0, and `METHOD PATH`. Returns the address to give to
/// `--server`. The thread ends with the test.
pub(crate) fn start(answer: impl Fn(usize, &str) -> Reply + Send + 'static) -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let asked = Asked::default();
    let log = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let Some(request) = request(&stream) else { continue };
            let number = {
                let mut log = log.lock().expect("no test panicked");
                log.push(request.clone());
                log.len() - 1
            };
            reply(stream, answer(number, &request));
        }
    });
    (address, asked)
}

/// Reads a whole request; answers one per connection.
fn request(stream: &TcpStream) -> Option<String> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let request = line.rsplit_once(' ')?.0.to_owned();
    let mut length = 0_u64;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim();
        if header.is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
    }
    std::io::copy(&mut reader.take(length), &mut std::io::sink()).ok()?;
    Some(request)
}

fn reply(mut stream: TcpStream, reply: Reply) {
    // The client may have left; a test then fails by what it sees, not here.
    let _ = match reply {
        Reply::Json(status, body) => stream.write_all(
            format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
            .as_bytes(),
        ),
        Reply::Stream(lines) => stream.write_all(
            format!("HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{lines}\r\n", lines.len())
                .as_bytes(),
        ),
        Reply::Lines(lines) => stream.write_all(
            format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{lines}", lines.len()).as_bytes(),
        ),
        Reply::Nothing => Ok(()),
    };
}
