public import FabricCore

extension World {
    /// Keeps a journal from now on. Before the first event is best; causes from before are not known.
    @discardableResult
    public func keepJournal(maximumEntries: Int = Journal.defaultMaximumEntries) -> Journal {
        let journal = Journal(world: self, maximumEntries: maximumEntries)
        self.journal = journal
        return journal
    }

    /// Sends a datagram as `send` does, and says in the journal what it was and what became of it.
    func sendWatched(
        from host: HostID, source: Endpoint, destination: Endpoint, bytes: UnsafeRawBufferPointer, ecn: ECN
    ) {
        guard let journal else {
            return network.send(from: host.index, source: source, destination: destination, bytes: bytes, ecn: ecn)
        }
        let to = network.receiver(.udp, at: destination).map { HostID(index: $0) }
        let before = network.counters
        let text = DatagramWords.text(bytes, content: journal.content)
        if DatagramWords.isHandshake(bytes) { journal.count(.handshakes) }
        journal.content = nil
        journal.datagram = (text, to?.index ?? -1)
        journal.causing(journal.current) {
            journal.pushedTimes.removeAll(keepingCapacity: true)
            network.send(from: host.index, source: source, destination: destination, bytes: bytes, ecn: ecn)
            let fate = DatagramWords.fate(before, network.counters)
            if journal.pushedTimes.isEmpty {
                journal.count(.lost)
                journal.annotateCurrent(outcome: fate.isEmpty ? "goes nowhere" : "never arrives: \(fate)")
            } else if !fate.isEmpty {
                journal.annotateCurrent(outcome: fate)
            }
            if let watch = onDatagram {
                watch(
                    SentDatagram(
                        time: now, from: host, to: to, source: source, destination: destination,
                        fate: journal.pushedTimes.isEmpty ? (fate.isEmpty ? "goes nowhere" : fate) : fate,
                        arrives: !journal.pushedTimes.isEmpty, text: text), bytes)
            }
        }
        journal.datagram = nil
    }
}

/// A datagram as it left its sender, with what became of it.
public struct SentDatagram: Sendable {
    public var time: Instant
    public var from: HostID
    /// The host that has the destination's address now.
    public var to: HostID?
    public var source: Endpoint
    public var destination: Endpoint
    /// Which faults befell it, by the names of the network's counters; empty for none.
    public var fate: String
    public var arrives: Bool
    /// What it is, in words.
    public var text: String
}

/// Datagrams in words.
enum DatagramWords {
    private static func type(_ bytes: UnsafeRawBufferPointer) -> UInt8? {
        guard bytes.count >= 32, bytes[1] == 0, bytes[2] == 0, bytes[3] == 0, (1...4).contains(bytes[0]) else {
            return nil
        }
        return bytes[0]
    }

    static func isHandshake(_ bytes: UnsafeRawBufferPointer) -> Bool { type(bytes) == 1 }

    /// By the layouts of WireGuard's messages (whitepaper, section 5.4). `content` is what the sender put inside.
    static func text(_ bytes: UnsafeRawBufferPointer, content: String?) -> String {
        switch (type(bytes), bytes.count) {
        case (1, 148): return "WireGuard handshake initiation"
        case (2, 92): return "WireGuard handshake response"
        case (3, 64): return "WireGuard cookie reply"
        case (4, 32): return "WireGuard keepalive"
        case (4, let count): return content ?? "WireGuard transport, \(count) B"
        case (_, let count): return "UDP, \(count) B"
        }
    }

    /// The counters that rose besides those of ordinary passage: which faults there were, in the network's own names.
    static func fate(_ before: NetworkCounters, _ after: NetworkCounters) -> String {
        let ordinary = ["sent", "sentBytes", "delivered", "deliveredBytes"]
        var found: [String] = []
        // Faults that are added to the network are named here without a change: the names are the fields'.
        for (old, new) in zip(Mirror(reflecting: before).children, Mirror(reflecting: after).children) {
            guard let name = new.label, !ordinary.contains(name), let then = old.value as? UInt64,
                let now = new.value as? UInt64, now > then
            else { continue }
            found.append(words[name] ?? spaced(name))
        }
        return found.joined(separator: ", ")
    }

    private static let words = [
        "lost": "lost on the line", "partitionDropped": "a partition cuts it off",
        "queueDropped": "the line's queue is full",
        "mtuDropped": "larger than the line's MTU", "burstLost": "lost in a burst",
        "blackHoleDropped": "a black hole swallows packets of its size",
        "natDropped": "an address translator does not let it through", "unroutable": "nobody has this address",
        "hostDown": "the host is down", "overLimit": "the simulator's limit of packets under way",
    ]

    /// `natFiltered` becomes “nat filtered”.
    private static func spaced(_ name: String) -> String {
        var text = ""
        for character in name {
            if character.isUppercase { text += " " + character.lowercased() } else { text.append(character) }
        }
        return text
    }
}
