//! Requests to Splunk's HTTP event collector.

use super::{
    connect::{Connection, Trust, within},
    sink::Trouble,
};
use effects::Effects;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use telemetry::driver::{Address, Splunk};

/// How long an answer may take. Docker's.
const PATIENCE: Duration = Duration::from_secs(30);
/// What is read of an answer: it is told where something went wrong.
const MAX_ANSWER: usize = 4 << 10;
/// How long its text may take, whose status is known by then.
const TEXT: Duration = Duration::from_secs(5);

/// A collector, with a connection that is kept from one request to the next.
pub(super) struct Collector {
    options: Splunk,
    /// Whether errors say what it answered.
    quotes: bool,
    effects: Effects,
    trust: Trust,
    /// What Splunk knows one sender of acknowledged events by.
    channel: String,
    sender: Option<SendRequest<Full<hyper::body::Bytes>>>,
}

impl Collector {
    pub(super) fn new(options: Splunk, quotes: bool, effects: Effects) -> Self {
        let trust = Trust::new(options.tls.clone().unwrap_or_default());
        Self { options, quotes, channel: effects.uuid(), effects, trust, sender: None }
    }

    /// Asks whether it is there. Docker: before a container starts.
    pub(super) async fn greet(&mut self) -> Result<(), Trouble> {
        self.exchange(Method::OPTIONS, Vec::new()).await
    }

    /// Posts events.
    pub(super) async fn post(&mut self, body: Vec<u8>) -> Result<(), Trouble> {
        self.exchange(Method::POST, body).await
    }

    /// What was taken is told by the status alone: whatever is wrong with its text costs the connection, not the events again.
    async fn exchange(&mut self, method: Method, body: Vec<u8>) -> Result<(), Trouble> {
        let effects = self.effects.clone();
        let post = method == Method::POST;
        let answer = match within(&effects, PATIENCE, "request", self.request(method, body)).await {
            Ok(answer) => answer,
            Err(trouble) => {
                self.sender = None;
                return Err(trouble);
            }
        };
        let status = answer.status();
        // Read to its end, so that the connection can be used again.
        let text = async {
            let read = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
            read.map_err(|error| Trouble(format!("splunk: {error}")))
        };
        let text = within(&effects, TEXT, "answer", text).await;
        if text.is_err() || status != http::StatusCode::OK {
            self.sender = None;
        }
        if status == http::StatusCode::OK {
            return Ok(());
        }
        // Docker's words.
        let what = if post { "failed to send event" } else { "failed to verify connection" };
        if !self.quotes {
            return Err(Trouble(format!("splunk: {what} - {status}")));
        }
        let text = text.map(|text| String::from_utf8_lossy(&text.to_bytes()).into_owned()).unwrap_or_default();
        // Some say what they were sent.
        let text = text.replace(self.options.token.reveal(), "***");
        Err(Trouble(format!("splunk: {what} - {status} - {text}")))
    }

    async fn request(&mut self, method: Method, body: Vec<u8>) -> Result<Response<Incoming>, Trouble> {
        let failed = |error: &dyn std::fmt::Display| Trouble(format!("splunk: {error}"));
        let post = method == Method::POST;
        let mut request =
            Request::builder().method(method).uri(&self.options.path).header(header::HOST, &self.options.authority);
        if post {
            let mut token = header::HeaderValue::try_from(format!("Splunk {}", self.options.token.reveal()))
                .map_err(|_| Trouble("splunk: the token is none that a request can have".to_owned()))?;
            token.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, token);
            if self.options.gzip.is_some() {
                request = request.header(header::CONTENT_ENCODING, "gzip");
            }
            if self.options.channel {
                request = request.header("X-Splunk-Request-Channel", &self.channel);
            }
        }
        let request = request.body(Full::from(body)).map_err(|error| failed(&error))?;
        self.sender().await?.send_request(request).await.map_err(|error| failed(&error))
    }

    /// Something to send a request with.
    async fn sender(&mut self) -> Result<&mut SendRequest<Full<hyper::body::Bytes>>, Trouble> {
        let usable = match &mut self.sender {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        if !usable {
            self.sender = Some(self.connect().await?);
        }
        Ok(self.sender.as_mut().expect("it was just put there"))
    }

    async fn connect(&mut self) -> Result<SendRequest<Full<hyper::body::Bytes>>, Trouble> {
        let Splunk { host, port, tls, .. } = &self.options;
        let address = Address::Tcp { host: host.clone(), port: *port, tls: tls.is_some() };
        let connection = Connection::open(&address, &mut self.trust, &self.effects).await?;
        let Connection::Stream(stream) = connection else { return Err(Trouble("splunk: no stream".to_owned())) };
        let made = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (sender, driven) = made.map_err(|error| Trouble(format!("splunk: {error}")))?;
        // Ends with its sender.
        self.effects.spawn("connection to splunk", async move {
            if let Err(error) = driven.await {
                tracing::debug!(%error, "a connection to splunk ended");
            }
        });
        Ok(sender)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{LogDriver, LogMode};
    use telemetry::driver::Outward;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    /// What becomes of events that are answered so.
    async fn answered(answer: &str, quotes: bool) -> Result<(), Trouble> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let options = [("splunk-url".to_owned(), url), ("splunk-token".to_owned(), "t0ken".to_owned())].into();
        let Ok(Outward::Splunk(options)) = Outward::parse(LogDriver::Splunk, &options, LogMode::Blocking, None) else {
            unreachable!()
        };
        let mut collector = Collector::new(options, quotes, Effects::real());
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"events") {
                stream.read_buf(&mut request).await.unwrap();
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream
        };
        let (outcome, _) = tokio::join!(collector.post(b"events".to_vec()), server);
        outcome
    }

    #[tokio::test]
    async fn what_was_taken_is_taken_whatever_the_answer_says() {
        let long = "x".repeat(9_000);
        assert_eq!(answered(&format!("HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n{long}"), true).await, Ok(()));
        let said = "HTTP/1.1 403 Forbidden\r\nContent-Length: 15\r\n\r\nunknown: t0ken!";
        let told = |text: &str| Err(Trouble(format!("splunk: failed to send event - 403 Forbidden{text}")));
        assert_eq!(answered(said, true).await, told(" - unknown: ***!"));
        assert_eq!(answered(said, false).await, told(""));
    }
}
