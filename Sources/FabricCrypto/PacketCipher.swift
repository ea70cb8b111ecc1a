internal import CFabricCipher
internal import CFabricOpenSSL
public import FabricCore

/// ChaCha20-Poly1305 for packets, as one library has it. All keys of an instance seal on one thread at a time, and open on
/// one; these may be two.
public protocol PacketCipher: AnyObject {
    /// What operators call it.
    var name: String { get }
    /// A key of 32 bytes, made ready.
    func key(_ key: [UInt8]) -> any PacketKey
}

/// OpenSSL's: every machine has it.
public final class OpenSSLCipher: PacketCipher {
    public let name = "openssl"
    private let contexts = PacketContexts()
    public init() {}
    public func key(_ key: [UInt8]) -> any PacketKey { contexts.key(key) }
}

/// That of Intel's libipsec-mb (Debian: libipsec-mb1), about twice as fast for whole packets and far more so for small ones.
public final class MultiBufferCipher: PacketCipher {
    public let name = "ipsec-mb"
    /// A manager serves one thread at a time, so each direction has its own.
    fileprivate let sealing: OpaquePointer
    fileprivate let opening: OpaquePointer

    /// Nil where the library is missing or of a version other than 1.3.
    public init?() {
        guard let sealing = fabric_multibuffer_create() else { return nil }
        guard let opening = fabric_multibuffer_create() else {
            fabric_multibuffer_destroy(sealing)
            return nil
        }
        self.sealing = sealing
        self.opening = opening
    }

    deinit {
        fabric_multibuffer_destroy(sealing)
        fabric_multibuffer_destroy(opening)
    }

    public func key(_ key: [UInt8]) -> any PacketKey { MultiBufferPacketKey(self, key) }

    /// Whole arrays with associated data and any nonce, for vectors. Nil when it is not authentic.
    func process(key: [UInt8], nonce: [UInt8], _ bytes: [UInt8], authenticating: [UInt8], sealing isSealing: Bool)
        -> [UInt8]?
    {
        precondition(key.count == 32 && nonce.count == 12 && (isSealing || bytes.count >= ChaChaContext.tagLength))
        var result = isSealing ? bytes + [UInt8](repeating: 0, count: ChaChaContext.tagLength) : bytes
        let count = result.count - ChaChaContext.tagLength
        let work = isSealing ? fabric_multibuffer_seal : fabric_multibuffer_open
        guard work(isSealing ? sealing : opening, key, nonce, authenticating, authenticating.count, &result, count) == 0
        else { return nil }
        return isSealing ? result : Array(result[..<count])
    }
}

private final class MultiBufferPacketKey: PacketKey {
    private let cipher: MultiBufferCipher
    private let sealing: OpaquePointer
    private let opening: OpaquePointer
    private let key: UnsafeMutablePointer<UInt8>

    init(_ cipher: MultiBufferCipher, _ bytes: [UInt8]) {
        precondition(bytes.count == 32)
        self.cipher = cipher
        sealing = cipher.sealing
        opening = cipher.opening
        key = .allocate(capacity: 32)
        key.initialize(from: bytes, count: 32)
    }

    deinit {
        OPENSSL_cleanse(key, 32)
        key.deallocate()
    }

    func seal(_ bytes: UnsafeMutableRawPointer, count: Int, counter: UInt64) {
        let done = ChaChaNonce(counter: counter).withBytes {
            fabric_multibuffer_seal(sealing, key, $0, nil, 0, bytes.assumingMemoryBound(to: UInt8.self), count)
        }
        precondition(done == 0, "libipsec-mb failed to encrypt")
    }

    func open(_ bytes: UnsafeMutableRawPointer, count: Int, counter: UInt64) -> Bool {
        ChaChaNonce(counter: counter).withBytes {
            fabric_multibuffer_open(opening, key, $0, nil, 0, bytes.assumingMemoryBound(to: UInt8.self), count)
        } == 0
    }
}

/// Which cipher a host's packets get.
public enum PacketCiphers {
    /// What sealing a full packet took at best, in nanoseconds.
    public struct Measurement: Hashable, Sendable {
        public var name: String
        public var nanoseconds: Int64
    }

    static let rounds = 8
    static let sealsPerRound = 32
    static let length = 1424

    /// OpenSSL's first, then what else this machine has.
    public static func available() -> [any PacketCipher] {
        var all: [any PacketCipher] = [OpenSSLCipher()]
        if let multiBuffer = MultiBufferCipher() { all.append(multiBuffer) }
        return all
    }

    /// The fastest on most machines for small packets, told without a clock. What it seals is what OpenSSL's would.
    public static func forSimulation() -> any PacketCipher {
        let ciphers = available()
        guard let last = ciphers.last, agrees(last, with: ciphers[0]) else { return ciphers[0] }
        return last
    }

    /// Measures for about a millisecond and returns the fastest of `ciphers`. One that does not do exactly what the first does
    /// is not considered. `clock` gives nanoseconds.
    public static func fastest(
        of ciphers: [any PacketCipher], clock: () -> Int64
    ) -> (cipher: any PacketCipher, measured: [Measurement]) {
        precondition(!ciphers.isEmpty)
        let sound = ciphers.filter { agrees($0, with: ciphers[0]) }
        let secret = [UInt8](repeating: 0x5A, count: 32)
        let keys = sound.map { $0.key(secret) }
        let memory = UnsafeMutableRawPointer.allocate(byteCount: length + ChaChaContext.tagLength, alignment: 64)
        defer { memory.deallocate() }
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: length + ChaChaContext.tagLength)
        var best = [Int64](repeating: .max, count: sound.count)
        for _ in 0..<rounds {
            for (index, key) in keys.enumerated() {
                let start = clock()
                for counter in 0..<sealsPerRound { key.seal(memory, count: length, counter: UInt64(counter)) }
                best[index] = min(best[index], (clock() - start) / Int64(sealsPerRound))
            }
        }
        let fastest = best.indices.min { best[$0] < best[$1] }!
        return (sound[fastest], zip(sound, best).map { Measurement(name: $0.name, nanoseconds: $1) })
    }

    /// Seals alike, opens what the other sealed, and refuses what was changed.
    static func agrees(_ cipher: any PacketCipher, with other: any PacketCipher) -> Bool {
        let secret = (0..<32).map { UInt8($0 * 7 + 1) }
        let (one, reference) = (cipher.key(secret), other.key(secret))
        for count in [0, 1, 15, 16, 17, 63, 64, 65, 511, 1424, 9000] {
            let plain = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 13) }
            var (a, b) = (plain + [UInt8](repeating: 0, count: 16), plain + [UInt8](repeating: 0, count: 16))
            let counter = UInt64(count) << 33 | 5
            a.withUnsafeMutableBytes { one.seal($0.baseAddress!, count: count, counter: counter) }
            b.withUnsafeMutableBytes { reference.seal($0.baseAddress!, count: count, counter: counter) }
            guard a == b else { return false }
            for bad in [0, count, count + 15] {
                var changed = a
                changed[bad] ^= 0x80
                let taken = changed.withUnsafeMutableBytes {
                    one.open($0.baseAddress!, count: count, counter: counter)
                }
                if taken { return false }
            }
            guard a.withUnsafeMutableBytes({ one.open($0.baseAddress!, count: count, counter: counter) }),
                Array(a[..<count]) == plain
            else { return false }
        }
        return true
    }
}
