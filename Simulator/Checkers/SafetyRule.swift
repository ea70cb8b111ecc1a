/// What must never happen, in any run. Each rule has a file of its own in this folder, and a planted bug that it catches.
public enum SafetyRule: Int, CaseIterable, Hashable, Sendable {
    case admittedPeersOnly
    case uniqueIdentity
    case innerPacketsIntact
    case innerPacketsOnce
    case nonceOnce
    case keysEnd
    case handshakeTimeForward
    case handshakeOnce
    case durableBeforeSent
    case snapshotForward
    case repliesDurable
    case tokenLimits
    case enrolmentOnce
    case certificatesSound
    case auditAppendOnly
    case secretsStaySecret
    case queuesBounded
    case recordsForward
    case loadShed
    case retriesBounded

    /// As reports name it.
    public var name: String {
        switch self {
        case .admittedPeersOnly: "admitted-peers-only"
        case .uniqueIdentity: "unique-identity"
        case .innerPacketsIntact: "inner-packets-intact"
        case .innerPacketsOnce: "inner-packets-once"
        case .nonceOnce: "nonce-once"
        case .keysEnd: "keys-end"
        case .handshakeTimeForward: "handshake-time-forward"
        case .handshakeOnce: "handshake-once"
        case .durableBeforeSent: "durable-before-sent"
        case .snapshotForward: "snapshot-forward"
        case .repliesDurable: "replies-durable"
        case .tokenLimits: "token-limits"
        case .enrolmentOnce: "enrolment-once"
        case .certificatesSound: "certificates-sound"
        case .auditAppendOnly: "audit-append-only"
        case .secretsStaySecret: "secrets-stay-secret"
        case .queuesBounded: "queues-bounded"
        case .recordsForward: "records-forward"
        case .loadShed: "load-shed"
        case .retriesBounded: "retries-bounded"
        }
    }

    /// What holds as long as the rule does.
    public var sentence: String {
        switch self {
        case .admittedPeersOnly:
            "a node has tunnels only with members that the approvers admitted, by the keys of their admissions"
        case .uniqueIdentity: "two nodes never have one identity key, tunnel key or overlay address"
        case .innerPacketsIntact:
            "an inner packet comes out as it went in, at the node and in the domain for which it was sealed, from the "
                + "node that its source address names"
        case .innerPacketsOnce: "no inner packet is taken twice"
        case .nonceOnce: "a tunnel key seals each counter once"
        case .keysEnd: "a session takes nothing after 180 s, and its keys are gone in time"
        case .handshakeTimeForward: "the time stamps of a node's handshakes with a peer only grow, across reboots too"
        case .handshakeOnce: "an initiation is taken once, and only from who knows whom it speaks to"
        case .durableBeforeSent: "keys and time stamps are durable before they are used"
        case .snapshotForward: "a node goes by snapshots made for it, and never by an older one, across restarts too"
        case .repliesDurable: "what a reply has acknowledged is in the database after every recovery"
        case .tokenLimits: "a join token is not used beyond its uses, after its expiry, or after it was revoked"
        case .enrolmentOnce: "a token and an identity key make one join request"
        case .certificatesSound:
            "certificates go to approved nodes, never outlive their issuer, and each has a serial number of its own"
        case .auditAppendOnly: "the audit only grows, its hash chain holds, and what was decided stands in it"
        case .secretsStaySecret:
            "no private key, raw token or inner plaintext is on a link, in the database or with an impostor"
        case .queuesBounded: "every queue and table stays within its named limit"
        case .recordsForward: "a node never goes by an older record of a peer than one that it has had"
        case .loadShed:
            "a node works on few handshakes of those who have not shown that they receive where they send from"
        case .retriesBounded: "a node whose requests fail asks again at a bounded rate"
        }
    }
}
