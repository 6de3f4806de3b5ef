//! OAuth2 of Centry's and Tiki's APIs, as a client and a browser live through it; each answer's exact shape is in
//! `tests/dialects`.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Method};
use postrider_tests::{
    client::{Answer, Client},
    tenant::{Tenant, text},
    world::World,
};
use serde_json::{Value, json};

use super::golden;

const CALLBACK: &str = "https://app.example/callback?own=1";

/// Where an API has its OAuth2, and something to read and to change.
struct Api {
    authorize: &'static str,
    token: &'static str,
    webhooks: &'static str,
    webhook: fn() -> Value,
    scope: &'static str,
}

const CENTRY: Api = Api {
    authorize: "/oauth/authorize",
    token: "/oauth/token",
    webhooks: "/conexion/v1/webhooks.json",
    webhook: || json!({ "callback_url": "https://example.com/", "on_order_save": true }),
    scope: "read_webhook write_webhook",
};
const TIKI: Api = Api {
    authorize: "/sc/oauth2/auth",
    token: "/sc/oauth2/token",
    webhooks: "/integration/v1/webhooks",
    webhook: || json!({ "uri": "https://example.com/", "event": "product:request:locked" }),
    scope: "offline all",
};

/// A client, and a seller whose webhooks it is to manage.
struct Story {
    api: &'static Api,
    bare: Client,
    app: Tenant,
    client: (String, String),
    seller: Tenant,
}

impl Story {
    async fn begin(world: &World, api: &'static Api, label: &str) -> Self {
        let (app, seller) =
            (world.tenant(&format!("{label}-app")).await, world.tenant(&format!("{label}-seller")).await);
        let oob = "urn:ietf:wg:oauth:2.0:oob";
        let key = app.new_key(&json!({ "scopes": ["publish"], "redirect_uris": [CALLBACK, oob] })).await;
        let (id, secret) = key.strip_prefix("prk_").unwrap().split_once('_').unwrap();
        Self { api, bare: world.client(), app, client: (id.to_owned(), secret.to_owned()), seller }
    }

    /// A question's parameters, those of `more` in the place of the usual ones.
    fn question(&self, more: &[(&str, &str)]) -> String {
        let usual = [
            ("response_type", "code"),
            ("client_id", &*self.client.0),
            ("redirect_uri", CALLBACK),
            ("scope", self.api.scope),
            ("state", "s&<1>"),
        ];
        let kept = usual.iter().filter(|(name, _)| !more.iter().any(|(other, _)| other == name));
        encoded(kept.chain(more))
    }

    async fn ask(&self, more: &[(&str, &str)]) -> Answer {
        self.bare.get(&format!("{}?{}", self.api.authorize, self.question(more))).await
    }

    async fn settle(&self, key: &str, decision: &str, more: &[(&str, &str)]) -> Answer {
        let said = encoded([("api_key", key), ("decision", decision)].iter());
        form(&self.bare, self.api.authorize, &format!("{}&{said}", self.question(more)), None).await
    }

    /// The code that comes when the seller allows it.
    async fn code(&self, more: &[(&str, &str)]) -> String {
        let back = sent_back(&self.settle(&self.seller.key, "allow", more).await);
        assert_eq!(parameter(&back, "state").as_deref(), Some("s&<1>"));
        assert_eq!(parameter(&back, "own").as_deref(), Some("1"), "its own parameters stay");
        parameter(&back, "code").unwrap()
    }

    fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.client.0, self.client.1)))
    }

    async fn exchange(&self, offer: &[(&str, &str)]) -> Answer {
        form(&self.bare, self.api.token, &encoded(offer.iter()), Some(&self.basic())).await
    }

    async fn redeem(&self, code: &str) -> Answer {
        let offer = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", CALLBACK)];
        self.exchange(&offer).await
    }

    async fn refresh(&self, tokens: &Value) -> Answer {
        let token = text(tokens, "refresh_token");
        self.exchange(&[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    /// What reading and changing webhooks with a token is answered.
    async fn opens(&self, tokens: &Value) -> [u16; 2] {
        let client = self.bare.bearer(text(tokens, "access_token"));
        let read = client.get(self.api.webhooks).await.status;
        [read, client.put("/v1/credentials", &json!({ "id": "a", "secret": "b" })).await.status]
    }
}

fn encoded<'a>(pairs: impl Iterator<Item = &'a (&'a str, &'a str)>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs);
    query.finish()
}

async fn form(client: &Client, path: &str, body: &str, authorization: Option<&str>) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
    if let Some(value) = authorization {
        headers.insert("authorization", value.parse().unwrap());
    }
    client.send_bytes(Method::POST, path, Some(Bytes::copy_from_slice(body.as_bytes())), &headers).await
}

#[track_caller]
fn sent_back(answer: &Answer) -> url::Url {
    assert_eq!(answer.status, 303, "{answer}");
    assert_eq!(answer.headers["cache-control"], "no-store");
    let location = answer.headers["location"].to_str().unwrap();
    assert!(location.starts_with(&format!("{CALLBACK}&")), "{location}");
    location.parse().unwrap()
}

fn parameter(url: &url::Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(own, _)| own == name).map(|(_, value)| value.into_owned())
}

#[track_caller]
fn page(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status, status, "{answer}");
    let header = |name: &str| answer.headers[name].to_str().unwrap();
    assert_eq!(header("content-type"), "text/html; charset=utf-8");
    assert_eq!(header("x-frame-options"), "DENY");
    assert_eq!(header("referrer-policy"), "no-referrer");
    assert_eq!(header("cache-control"), "no-store");
    assert!(header("content-security-policy").starts_with("default-src 'none'; style-src 'sha256-"));
    assert!(!answer.headers.contains_key("location"));
    String::from_utf8(answer.body.to_vec()).unwrap()
}

#[track_caller]
fn refused(answer: &Answer, status: u16, error: &str) {
    let body = answer.expect(status);
    assert_eq!(body["error"], error, "{answer}");
    assert_eq!(answer.headers["cache-control"], "no-store");
}

async fn told(world: &World, api: &'static Api) {
    let story = Story::begin(world, api, "oauth").await;
    let shown = page(&story.ask(&[]).await, 200);
    assert!(shown.contains(&story.client.0) && shown.contains("oauth-app"), "{shown}");
    let tokens = story.redeem(&story.code(&[]).await).await.expect(200);
    assert_eq!(tokens["scope"], api.scope);
    let seller = story.bare.bearer(text(&tokens, "access_token"));
    seller.post(api.webhooks, &(api.webhook)()).await.expect(200);
    let theirs = story.seller.client.get("/v1/webhooks").await.expect(200);
    assert_eq!(theirs["data"].as_array().unwrap().len(), 1, "it is the seller's");
    assert_eq!(story.opens(&tokens).await, [200, 204]);

    let next = story.refresh(&tokens).await.expect(200);
    for name in ["access_token", "refresh_token"] {
        assert_ne!(tokens[name], next[name]);
    }
    assert_eq!(story.opens(&tokens).await, [401, 401], "it ended with the next");
    assert_eq!(story.opens(&next).await, [200, 204]);
    refused(&story.refresh(&tokens).await, 400, "invalid_grant");
    assert_eq!(story.opens(&next).await, [401, 401], "somebody has an old one: nobody has any");
    refused(&story.refresh(&next).await, 400, "invalid_grant");

    let code = story.code(&[]).await;
    let tokens = story.redeem(&code).await.expect(200);
    refused(&story.redeem(&code).await, 400, "invalid_grant");
    assert_eq!(story.opens(&tokens).await, [401, 401]);

    let tokens = story.redeem(&story.code(&[]).await).await.expect(200);
    let key = &story.seller.key[4..20];
    let path = format!("/v1/tenants/{}/keys", story.seller.id);
    let listed = story.seller.operator.get(&path).await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 1, "tokens are no keys");
    story.seller.operator.delete(&format!("{path}/{key}")).await.expect(204);
    assert_eq!(story.opens(&tokens).await, [401, 401]);
    refused(&story.refresh(&tokens).await, 400, "invalid_grant");
}

#[tokio::test]
async fn the_whole_story_of_centrys() {
    told(World::shared(), &CENTRY).await;
    told(golden::on_aws().await, &CENTRY).await;
}

#[tokio::test]
async fn the_whole_story_of_tikis() {
    told(World::shared(), &TIKI).await;
    told(golden::on_aws().await, &TIKI).await;
}

#[tokio::test]
async fn a_token_opens_what_was_allowed() {
    let story = Story::begin(World::shared(), &CENTRY, "oauth-scope").await;
    for (scope, opens) in [
        ("public", [403, 403]),
        ("public read_webhook", [200, 403]),
        ("write_webhook write_orders", [403, 204]),
        ("read_webhook write_webhook", [200, 204]),
    ] {
        let tokens = story.redeem(&story.code(&[("scope", scope)]).await).await.expect(200);
        assert_eq!((text(&tokens, "scope"), story.opens(&tokens).await), (scope, opens));
    }
    let tokens = story.redeem(&story.code(&[("scope", "")]).await).await.expect(200);
    assert_eq!(tokens["scope"], "public read_webhook write_webhook");
    // RFC 6749, 6: less may be asked for, and all of it again; never more.
    let narrow = [("grant_type", "refresh_token"), ("scope", "read_webhook")];
    let token = |tokens: &Value| text(tokens, "refresh_token").to_owned();
    let less = story.exchange(&[narrow[0], narrow[1], ("refresh_token", &token(&tokens))]).await.expect(200);
    assert_eq!((text(&less, "scope"), story.opens(&less).await), ("read_webhook", [200, 403]));
    let more = [narrow[0], ("scope", "read_user"), ("refresh_token", &token(&less))];
    refused(&story.exchange(&more).await, 400, "invalid_scope");
    assert_eq!(story.opens(&story.refresh(&less).await.expect(200)).await, [200, 204]);
    let problem = story.bare.bearer(text(&less, "access_token")).get("/v1/webhooks").await.expect(401);
    assert_eq!(problem["type"], "urn:postrider:problem:unauthenticated");
}

#[tokio::test]
async fn tikis_clients_ask_for_a_refresh_token() {
    let story = Story::begin(World::shared(), &TIKI, "oauth-offline").await;
    let code = story.code(&[("scope", "product")]).await;
    let tokens = story.redeem(&code).await.expect(200);
    assert_eq!((tokens.get("refresh_token"), story.opens(&tokens).await), (None, [200, 204]));
    refused(&story.redeem(&code).await, 400, "invalid_grant");
    assert_eq!(story.opens(&tokens).await, [401, 401]);
}

#[tokio::test]
async fn a_client_has_tokens_of_its_own() {
    let story = Story::begin(World::shared(), &CENTRY, "oauth-own").await;
    let own = [("grant_type", "client_credentials")];
    let tokens = story.exchange(&own).await.expect(200);
    assert_eq!(text(&tokens, "scope"), "public", "its key may publish, and no more");
    refused(&story.exchange(&[own[0], ("scope", "read_webhook")]).await, 400, "invalid_scope");

    let key = story.app.new_key(&json!({ "scopes": ["manage"] })).await;
    let (id, secret) = key.rsplit_once('_').unwrap();
    let body = json!({
        "grant_type": "client_credentials", "client_id": id, "client_secret": secret,
        "scope": "read_webhook write_webhook",
    });
    let query: Vec<_> =
        body.as_object().unwrap().iter().map(|(k, v)| (k.as_str(), v.as_str().unwrap())).collect();
    let query = encoded(query.iter());
    let in_query = story.bare.send(Method::POST, &format!("/oauth/token?{query}"), None).await;
    for answer in [
        story.bare.post("/oauth/token", &body).await,
        form(&story.bare, "/oauth/token", &query, None).await,
        in_query,
        story.bare.post(&format!("//oauth/token?{query}"), &json!({})).await,
    ] {
        let tokens = answer.expect(200);
        assert_eq!((text(&tokens, "scope"), tokens.get("refresh_token")), (CENTRY.scope, None));
        assert_eq!(story.opens(&tokens).await, [200, 204]);
    }
    story.app.client.get("/v1/webhooks").await.expect(200);
}

#[tokio::test]
async fn nobody_is_sent_to_where_no_client_is() {
    let story = Story::begin(World::shared(), &CENTRY, "oauth-lost").await;
    let plain = story.seller.key[4..20].to_owned();
    for wrong in [
        ("client_id", ""),
        ("client_id", "aaaaaaaaaaaaaaaa"),
        ("client_id", "<script>"),
        // A key that was made without any is nobody's client.
        ("client_id", &*plain),
        ("redirect_uri", ""),
        ("redirect_uri", "https://app.example/callback"),
        ("redirect_uri", "https://app.example/callback?own=1&more=2"),
        ("redirect_uri", "https://APP.example/callback?own=1"),
        ("redirect_uri", "javascript:alert(1)"),
        ("redirect_uri", "//evil.example/"),
    ] {
        for answer in [
            story.ask(&[wrong]).await,
            story.settle(&story.seller.key, "allow", &[wrong]).await,
            story.settle(&story.seller.key, "deny", &[wrong]).await,
        ] {
            let named = if wrong.1 == plain { "redirect_uri" } else { wrong.0 };
            assert!(page(&answer, 400).contains(named), "{wrong:?}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_client_is_told_what_is_wrong() {
    for api in [&CENTRY, &TIKI] {
        let story = Story::begin(World::shared(), api, "oauth-told").await;
        for (wrong, error) in [
            (("response_type", "token"), "unsupported_response_type"),
            (("response_type", ""), "unsupported_response_type"),
            (("scope", "read_webhook root"), "invalid_scope"),
            (("code_challenge", "short"), "invalid_request"),
            (("code_challenge_method", "S256"), "invalid_request"),
            (("response_mode", "fragment"), "invalid_request"),
        ] {
            for answer in
                [story.ask(&[wrong]).await, story.settle(&story.seller.key, "allow", &[wrong]).await]
            {
                let back = sent_back(&answer);
                assert_eq!(parameter(&back, "error").as_deref(), Some(error), "{wrong:?}");
                assert_eq!(parameter(&back, "state").as_deref(), Some("s&<1>"));
            }
        }
        let back = sent_back(&story.settle("", "deny", &[]).await);
        assert_eq!(parameter(&back, "error").as_deref(), Some("access_denied"));
        let code = parameter(&back, "error_code");
        assert_eq!(code.as_deref(), (api.authorize == TIKI.authorize).then_some("403"));
    }
}

#[tokio::test]
async fn only_a_sellers_own_key_allows_anything() {
    let story = Story::begin(World::shared(), &CENTRY, "oauth-who").await;
    let ask = async |key: &str| story.settle(key, "allow", &[]).await;
    let tokens = story.redeem(&story.code(&[]).await).await.expect(200);
    let wrong = format!("{}{}", &story.seller.key[..52], u8::from(story.seller.key.ends_with('0')));
    let reader = story.seller.new_key(&json!({ "scopes": ["read"] })).await;
    for (key, status) in [
        ("", 401),
        (&*wrong, 401),
        (text(&tokens, "access_token"), 401),
        (postrider_tests::world::OPERATOR, 403),
        (&reader, 403),
    ] {
        let shown = page(&ask(key).await, status);
        assert!(
            shown.contains("role=\"alert\"") && shown.contains("name=\"state\" value=\"s&amp;&lt;1&gt;\"")
        );
        assert!(key.is_empty() || !shown.contains(key), "a key is not shown again");
    }
    let code = [("scope", "public read_webhook")];
    let back = sent_back(&story.settle(&reader, "allow", &code).await);
    let tokens = story.redeem(&parameter(&back, "code").unwrap()).await.expect(200);
    assert_eq!(story.opens(&tokens).await, [200, 403]);
}

#[tokio::test]
async fn a_page_says_what_it_is_told_and_runs_nothing() {
    let story = Story::begin(World::shared(), &CENTRY, "oauth-page").await;
    let attack = "\"><script>alert(1)</script>'`";
    let shown = page(&story.ask(&[("state", attack)]).await, 200);
    assert!(!shown.contains("<script") && shown.contains("&lt;script&gt;"), "{shown}");
    let tenant = json!({ "id": format!("{}-x", story.app.id), "name": attack });
    story.app.operator.post("/v1/tenants", &tenant).await.expect(201);
    let keys = format!("/v1/tenants/{}/keys", text(&tenant, "id"));
    let body = json!({ "scopes": ["publish"], "redirect_uris": [CALLBACK] });
    let made = story.app.operator.post(&keys, &body).await.expect(201);
    assert_eq!(made["redirect_uris"], json!([CALLBACK]));
    let shown = page(&story.ask(&[("client_id", text(&made, "id"))]).await, 200);
    assert!(!shown.contains("<script") && shown.contains("&lt;script&gt;"), "{shown}");
    let oob = [("redirect_uri", "urn:ietf:wg:oauth:2.0:oob")];
    let shown = page(&story.settle(&story.seller.key, "allow", &oob).await, 200);
    let code = shown.split("<code>").nth(1).and_then(|rest| rest.split("</code>").next()).unwrap();
    let offer = [("grant_type", "authorization_code"), ("code", code), oob[0]];
    story.exchange(&offer).await.expect(200);
    page(&story.settle("", "deny", &oob).await, 400);
}

#[tokio::test]
async fn a_code_is_bound_to_its_client_its_place_and_its_challenge() {
    let story = Story::begin(World::shared(), &CENTRY, "oauth-bound").await;
    // RFC 7636, appendix B.
    let verifier = ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    let hashed = [
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
    ];
    let grant = ("grant_type", "authorization_code");
    let place = ("redirect_uri", CALLBACK);
    let code = story.code(&hashed).await;
    let code = ("code", &*code);
    for offer in [
        &[grant, code, place][..],
        &[grant, code, place, ("code_verifier", hashed[0].1)],
        &[grant, code, verifier],
        &[grant, code, verifier, ("redirect_uri", "https://app.example/callback")],
        &[("grant_type", "refresh_token"), ("refresh_token", code.1)],
    ] {
        refused(&story.exchange(offer).await, 400, "invalid_grant");
    }
    let other = Story::begin(World::shared(), &CENTRY, "oauth-thief").await;
    refused(&other.exchange(&[grant, code, place, verifier]).await, 400, "invalid_grant");
    let thief = Story { api: &TIKI, client: story.client.clone(), ..other };
    refused(&thief.exchange(&[grant, code, place, verifier]).await, 400, "invalid_grant");
    let tokens = story.exchange(&[grant, code, place, verifier]).await.expect(200);
    assert_eq!(story.opens(&tokens).await, [200, 204]);
    for name in ["access_token", "refresh_token"] {
        let offer = [grant, ("code", text(&tokens, name)), place];
        refused(&story.exchange(&offer).await, 400, "invalid_grant");
    }
    let unasked = story.code(&[]).await;
    refused(&story.exchange(&[grant, ("code", &unasked), place, verifier]).await, 400, "invalid_grant");
    for name in ["refresh_token", "code"] {
        let token = text(&tokens, "refresh_token");
        story
            .bare
            .bearer(if name == "code" { &unasked } else { token })
            .get(CENTRY.webhooks)
            .await
            .expect(401);
    }
}
