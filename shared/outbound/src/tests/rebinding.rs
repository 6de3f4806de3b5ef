//! Name servers that mean harm: whatever they answer, and however often they change their minds, nothing is dialled that was
//! not judged.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hickory_resolver::proto::{
    op::{Message, MessageType},
    rr::{Name, RData, Record, RecordType, rdata::CNAME},
};
use postrider::{
    model::Failure,
    ports::{Outgoing, Post},
};
use tokio::net::{TcpListener, UdpSocket};

use super::{Receiver, answer, request};
use crate::{Outbound, Settings};

/// Nobody's: in no registry of special addresses, and no network has it.
const NOBODYS: &str = "192.0.1.1";

/// Names under it are asked for in vain.
const SILENT: &str = "silent.example";

/// What a name server says each time that it is asked for a name: the last goes for all later ones.
type Script = Vec<Vec<RData>>;

struct NameServer {
    address: SocketAddr,
    asked: Arc<Mutex<BTreeMap<String, usize>>>,
}

fn address(text: &str) -> RData {
    text.parse::<IpAddr>().unwrap().into()
}

impl NameServer {
    async fn start(names: &[(&str, Script)]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let names: BTreeMap<_, _> =
            names.iter().map(|(name, script)| ((*name).to_owned(), script.clone())).collect();
        let asked: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
        let counts = asked.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let mut message = Message::from_vec(&buffer[..length]).unwrap();
                let query = message.queries[0].clone();
                let name = query.name().to_string();
                if name.trim_end_matches('.').ends_with(SILENT) {
                    continue;
                }
                let said = names.get(name.trim_end_matches('.')).cloned().unwrap_or_default();
                let is_ours = |data: &RData| match query.query_type() {
                    RecordType::A => !matches!(data, RData::AAAA(_)),
                    _ => !matches!(data, RData::A(_)),
                };
                let time = {
                    let mut counts = counts.lock().unwrap();
                    let time = counts.entry(format!("{} {name}", query.query_type())).or_default();
                    *time += 1;
                    *time
                };
                let records = said.get(time - 1).or(said.last()).cloned().unwrap_or_default();
                let records = records.into_iter().filter(is_ours);
                // Nothing is to be kept: it may change its mind at once.
                message.add_answers(records.map(|data| Record::from_rdata(query.name().clone(), 0, data)));
                message.metadata.message_type = MessageType::Response;
                socket.send_to(&message.to_vec().unwrap(), from).await.unwrap();
            }
        });
        Self { address, asked }
    }

    fn outbound(&self) -> Outbound {
        Outbound::new(Settings { name_servers: vec![self.address], ..Settings::default() }).unwrap()
    }

    /// How often it was asked for the IPv4 addresses of a name.
    fn asked(&self, name: &str) -> usize {
        self.asked.lock().unwrap().get(&format!("A {name}.")).copied().unwrap_or_default()
    }
}

/// A listener on loopback that must not be reached, and how often it was.
async fn forbidden() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let reached = Arc::new(AtomicUsize::new(0));
    let count = reached.clone();
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (port, reached)
}

async fn failure(outbound: &Outbound, host: &str, port: u16) -> Failure {
    let message = Outgoing {
        url: Arc::new(format!("http://{host}:{port}/").parse().unwrap()),
        headers: http::HeaderMap::new(),
        body: bytes::Bytes::from_static(b"hello"),
        timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_millis(200),
        token: None,
        certificate: None,
    };
    let exchange = outbound.post(message, Box::pin(std::future::ready(()))).await;
    exchange.result.unwrap_err().failure
}

#[tokio::test]
async fn a_name_that_means_this_machine_the_next_time_is_asked_for_once_and_judged_each_time() {
    let rebinding = vec![vec![address(NOBODYS)], vec![address("127.0.0.1")]];
    let server = NameServer::start(&[("rebinding.example", rebinding)]).await;
    let (outbound, (port, reached)) = (server.outbound(), forbidden().await);
    // What was judged is dialled: that nobody answers there does not make us ask again.
    let first = failure(&outbound, "rebinding.example", port).await;
    assert!(matches!(first, Failure::Timeout | Failure::Refused), "{first:?}");
    assert_eq!(server.asked("rebinding.example"), 1);
    assert_eq!(failure(&outbound, "rebinding.example", port).await, Failure::Blocked);
    assert_eq!(server.asked("rebinding.example"), 2);
    assert_eq!(reached.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn no_answer_of_a_name_server_leads_inside() {
    let inside = |name: &str| RData::CNAME(CNAME(Name::from_ascii(name).unwrap()));
    let answers: &[(&str, Vec<RData>)] = &[
        ("plain.example", vec![address("127.0.0.1")]),
        ("metadata.example", vec![address("169.254.169.254")]),
        ("second.example", vec![address(NOBODYS), address("10.0.0.1")]),
        ("mapped.example", vec![address("::ffff:127.0.0.1")]),
        ("translated.example", vec![address("64:ff9b::7f00:1")]),
        ("sixth.example", vec![address("::1")]),
        ("either.example", vec![address(NOBODYS), address("fd00::1")]),
        ("alias.example", vec![inside("localhost.")]),
    ];
    let scripts: Vec<_> = answers.iter().map(|(name, said)| (*name, vec![said.clone()])).collect();
    let server = NameServer::start(&scripts).await;
    let (outbound, (port, reached)) = (server.outbound(), forbidden().await);
    for (name, _) in answers {
        let failure = failure(&outbound, name, port).await;
        assert!(matches!(failure, Failure::Blocked | Failure::Dns), "{name}: {failure:?}");
    }
    assert_eq!(failure(&outbound, "localhost", port).await, Failure::Blocked);
    assert_eq!(failure(&outbound, "unknown.example", port).await, Failure::Dns);
    assert_eq!(reached.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn names_whose_servers_do_not_answer_hold_up_no_other() {
    let server = NameServer::start(&[("quick.example", vec![vec![address("127.0.0.1")]])]).await;
    let settings =
        Settings { allow_private: true, name_servers: vec![server.address], ..Settings::default() };
    let outbound = Arc::new(Outbound::new(settings).unwrap());
    // More than the system's resolver would have threads for.
    for n in 0..600 {
        let outbound = outbound.clone();
        tokio::spawn(async move { failure(&outbound, &format!("n{n}.{SILENT}"), 80).await });
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut receiver = Receiver::start(async |mut stream, _| {
        let _ = request(&mut stream).await;
        answer(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    })
    .await;
    Arc::make_mut(&mut receiver.url).set_host(Some("quick.example")).unwrap();
    let exchange = tokio::time::timeout(Duration::from_secs(2), receiver.post(&outbound)).await.unwrap();
    assert!(exchange.result.is_ok(), "{:?}", exchange.result);
}
