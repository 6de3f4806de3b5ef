//! An open HTTP/1.1 connection. Whoever has an exchange on it drives it: it has no task of its own, to be woken for
//! each message and to wake the exchange in turn.

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Body, Frame, Incoming},
    client::conn::http1::{self, SendRequest},
};

use crate::connector::Stream;

/// Bytes of an answer's head at most, and of its body that wait for us.
const MAX_BUFFER: usize = 64 * 1024;

type Running = http1::Connection<Stream, Full<Bytes>>;

pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// None: it has ended. Boxed, for a connection is handed from the pool to an exchange and back.
    running: Option<Box<Running>>,
    /// The other end.
    pub(crate) address: SocketAddr,
}

impl Connection {
    pub(crate) async fn start(stream: Stream, address: SocketAddr) -> hyper::Result<Self> {
        let (sender, running) = http1::Builder::new().max_buf_size(MAX_BUFFER).handshake(stream).await?;
        Ok(Self { sender, running: Some(Box::new(running)), address })
    }

    /// Sends a request, and waits for the answer's head.
    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        if !self.sender.is_ready() {
            drive(&mut self.running, self.sender.ready()).await?;
        }
        drive(&mut self.running, self.sender.send_request(request)).await
    }

    /// The next piece of an answer's body.
    pub(crate) async fn frame(&mut self, body: &mut Incoming) -> Option<hyper::Result<Frame<Bytes>>> {
        if body.is_end_stream() {
            return None;
        }
        drive(&mut self.running, body.frame()).await
    }

    /// Whether it could take a request now. Looks without waiting, and leaves nobody behind to be woken.
    pub(crate) fn is_ready(&mut self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        if let Some(running) = &mut self.running
            && Pin::new(running).poll(&mut nobody).is_ready()
        {
            self.running = None;
        }
        self.running.is_some() && self.sender.is_ready()
    }
}

/// Waits for something that the connection brings about. If the connection ends, that something ends in an error.
async fn drive<T>(running: &mut Option<Box<Running>>, wanted: impl Future<Output = T>) -> T {
    let mut wanted = pin!(wanted);
    poll_fn(|context| {
        let Some(connection) = running else { return wanted.as_mut().poll(context) };
        // Asked before, so that the connection knows what is wanted, and again after. It need not wake us in between.
        let mut nobody = Context::from_waker(Waker::noop());
        if let Poll::Ready(had) = wanted.as_mut().poll(&mut nobody) {
            return Poll::Ready(had);
        }
        if Pin::new(connection).poll(context).is_ready() {
            *running = None;
            return wanted.as_mut().poll(context);
        }
        wanted.as_mut().poll(&mut nobody)
    })
    .await
}
