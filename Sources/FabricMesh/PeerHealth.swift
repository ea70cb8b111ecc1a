public import FabricCore
public import FabricWire

/// What one end knows of a path from echoes. A path is up while echoes come back; never because a session exists.
///
/// Each end sends a probe every interval, and with it goes back when the newest of the other's was sent. So two packets an
/// interval tell both ends that the path works both ways. When the other's are missing, or one of them shows that ours are,
/// this end asks for answers, five times as often: a lost packet is no lost path, and a path that is back is seen at once.
/// A path is up for three intervals after the last of this end's probes that is known to have arrived.
///
/// ```
///  a                                         b
///  │── probe sent at 7 ─────────────────────►│
///  │◄─ probe sent at 30, echo of 7 ──────────│   a: up
///  │── probe sent at 12, echo of 30 ────────►│   b: up
///  │                             ✗───────────│
///  │── probe sent at 18, wants an answer ───►│   nothing for six fifths of an interval
///  │◄─ probe sent at 41, echo of 18 ─────────│
/// ```
///
/// A path that stays down for `patience` rests: no probe is sent, but a handshake is tried now and then, `longestRest` apart in the
/// end. What speaks for the path ends the rest: a probe or a session of the peer, a record of it that says something new,
/// somebody's packet for it, a change of this host's own addresses, the control plane that answers after a silence.
public struct PeerHealth: Hashable, Sendable {
    public static let defaultProbeInterval = Duration.seconds(2)
    /// Of an interval, after which an unanswered probe is repeated.
    public static let repetitionsPerInterval = 5
    /// For so long a path that is down is probed with full effort.
    public static let patience = Duration.seconds(120)
    /// Of the time that a path has been down, after which a resting one is tried again: a 24th, within these bounds.
    static let restShare = 24
    /// WireGuard sends a peer no two handshake messages within this time.
    static let shortestRest = Duration.seconds(5)
    public static let longestRest = Duration.seconds(30)
    /// Where a peer has several endpoints, the longest rest is divided by their number, and by no more than this.
    static let restDivisor = 3

    public let probeInterval: Duration
    /// For so long a path is up after a probe of ours arrived that came back.
    public let upWindow: Duration
    /// Worked out once: dividing a `Duration` is slow.
    private let repetitionInterval: Duration
    private let silence: Duration
    /// Probes go out at this time and whole intervals after it. Peers that share it are probed in one turn.
    public let origin: Instant
    /// Added to this end's clock in probes: what comes back from before a restart fits no more, and nobody learns how long
    /// the host has run.
    private let clockOffset: Int64
    /// When the next probe is due; kept, since it is asked for at every event.
    public private(set) var probeDue: Instant
    private var scheduled: Instant
    /// Answers are wanted: before the first echo, and while one is missing.
    private var wantsAnswers = true
    private var lastSent: Instant?
    private var sentBefore: Instant?
    private var firstSent: Int64 = .max
    /// When the newest of ours that came back was sent.
    private var proved: Int64 = .min
    private var heardProbe: Int64?
    private var lastHeard: Instant?
    /// The end of the last echo's window.
    private var lastUp: Instant?
    /// When something last spoke for a path that was down.
    private var encouragedAt: Instant
    public private(set) var lastEcho: Instant?
    public private(set) var roundTrip: Duration?
    public private(set) var probesSent: UInt64 = 0
    public private(set) var echoesReceived: UInt64 = 0

    /// Of a peer that is probed at `firstProbe`, then at `origin` and whole intervals before and after it.
    /// `clockOffset` is drawn.
    public init(probeInterval: Duration, firstProbe: Instant, origin: Instant, clockOffset: Int64) {
        self.probeInterval = probeInterval
        self.clockOffset = clockOffset
        upWindow = probeInterval * 3
        repetitionInterval = probeInterval / Self.repetitionsPerInterval
        silence = probeInterval + repetitionInterval
        self.origin = origin
        scheduled = firstProbe
        probeDue = firstProbe
        encouragedAt = firstProbe
    }

    /// Returns what the probe says that is sent now. An answer wants none: two ends would not come to rest.
    public mutating func probeSent(now: Instant, isAnswer: Bool) -> EchoMessage.Probe {
        if !isAnswer, let lastHeard, now >= lastHeard + silence { wantsAnswers = true }
        if !isUp(at: now) { wantsAnswers = true }
        probesSent += 1
        firstSent = min(firstSent, now.nanoseconds)
        (sentBefore, lastSent) = (lastSent, now)
        scheduled = nextScheduled(after: now)
        plan()
        return EchoMessage.Probe(
            sentAt: now.nanoseconds &+ clockOffset, echo: heardProbe,
            held: lastHeard.map { (now - $0).nanoseconds } ?? 0, wantsAnswer: wantsAnswers && !isAnswer)
    }

    /// Takes a probe of the peer. An echo that is none of ours, comes twice or too late is not counted: the peer may have
    /// it from before this host's start.
    public mutating func probeReceived(_ probe: EchoMessage.Probe, now: Instant) {
        if !isUp(at: now) { encouragedAt = now }
        (heardProbe, lastHeard) = (probe.sentAt, now)
        if let echo = probe.echo { echoReceived(echo &- clockOffset, held: probe.held, now) }
        if misses(now) || !isUp(at: now) { wantsAnswers = true }
        plan()
    }

    private mutating func echoReceived(_ echo: Int64, held: Int64, _ now: Instant) {
        guard echo >= firstSent, echo <= now.nanoseconds, echo > proved else { return }
        let age = now - Instant(nanoseconds: echo)
        // Clocks go at different rates, and the peer may say what it likes.
        let held = min(age, .nanoseconds(max(0, held)))
        guard age - held <= upWindow else { return }
        proved = echo
        lastEcho = now
        roundTrip = age - held
        echoesReceived += 1
        lastUp = max(lastUp ?? now - held, now - held + upWindow)
        wantsAnswers = false
    }

    /// Whether a probe has not come back that should have, now that the peer has been heard.
    private func misses(_ now: Instant) -> Bool {
        let patience = repetitionInterval + (roundTrip ?? .zero)
        for sent in [lastSent, sentBefore] {
            guard let sent, now - sent > patience else { continue }
            return proved < sent.nanoseconds
        }
        return false
    }

    private mutating func plan() {
        if wantsAnswers {
            probeDue = lastSent.map { $0 + repetitionInterval } ?? scheduled
        } else {
            probeDue = lastHeard.map { min(scheduled, $0 + silence) } ?? scheduled
        }
    }

    private func nextScheduled(after now: Instant) -> Instant {
        let interval = max(1, probeInterval.nanoseconds)
        let since = (now - origin).nanoseconds
        let remainder = since % interval
        return now + .nanoseconds(remainder < 0 ? -remainder : interval - remainder)
    }

    /// The path counts as up until then, if no echo comes; nil before the first.
    public var upUntil: Instant? { planted(.pathUpForever) ? lastUp.map { _ in .distantFuture } : lastUp }

    public func isUp(at now: Instant) -> Bool {
        guard let upUntil else { return false }
        return now <= upUntil
    }

    // MARK: Rest

    /// The path was up when it was looked at before, and is down now. It has its time of full effort from here: the host may
    /// have slept through what came before.
    public mutating func noticedDown(now: Instant) { encouragedAt = now }

    /// Since when nothing has spoken for a path that is down.
    private var forlornSince: Instant { max(encouragedAt, upUntil ?? .zero) }

    /// A handshake is to be tried when a probe is due, instead of the probe.
    public func isResting(at now: Instant) -> Bool {
        !isUp(at: now) && now - forlornSince >= Self.patience
    }

    /// A handshake was tried on a resting path, at one of so many endpoints of the peer.
    public mutating func tried(endpoints: Int, now: Instant) {
        let longest = Self.longestRest / min(max(1, endpoints), Self.restDivisor)
        let rest = max(Self.shortestRest, repetitionInterval, min((now - forlornSince) / Self.restShare, longest))
        // In turn with the others, where there are turns.
        probeDue = probeInterval <= rest ? nextScheduled(after: now + rest) : now + rest
        if planted(.restWithoutEnd) { probeDue = .distantFuture }
    }

    /// Something speaks for the path. If it rests, it is probed with full effort again, in its turn at the latest; at once in any
    /// case where that is asked for.
    public mutating func encourage(atOnce: Bool, now: Instant) {
        guard !isUp(at: now) else { return }
        let rested = isResting(at: now)
        encouragedAt = now
        guard rested || atOnce else { return }
        wantsAnswers = true
        scheduled = min(probeDue, atOnce ? now : nextScheduled(after: now))
        probeDue = scheduled
    }
}
