import FabricCore
import FabricCrypto
import Testing

@testable import Simulator

@Suite struct WorldCryptographyTests {
    private let base = SystemCryptography()
    private let world = WorldCryptography(SystemCryptography())
    private let one = [UInt8](repeating: 7, count: 32)
    private let other = [UInt8](repeating: 9, count: 32)

    @Test("Both ends of an agreement get the secret that the library gives")
    func agreement() throws {
        let (a, b) = (try world.agreementKey(one), try world.agreementKey(other))
        let expected = try base.agreementKey(one).agree(with: b.publicKey)
        #expect(try a.agree(with: b.publicKey) == expected)
        #expect(try b.agree(with: a.publicKey) == expected)
        #expect(try a.agree(with: a.publicKey) != expected)
    }

    @Test("A key that is none is refused each time")
    func refusedKeys() throws {
        let key = try world.agreementKey(one)
        for _ in 0..<2 {
            #expect(throws: CryptographyError.lowOrderPoint) { try key.agree(with: [UInt8](repeating: 0, count: 32)) }
            #expect(throws: CryptographyError.malformedKey) { try key.agree(with: [1, 2, 3]) }
        }
    }

    @Test("A signature that was found good is good for its key and its message alone")
    func signatures() throws {
        let (key, message) = (try base.ed25519PublicKey(seed: one), Array("a document".utf8))
        let signature = try base.ed25519Sign(seed: one, message)
        let stranger = try base.ed25519PublicKey(seed: other)
        for _ in 0..<2 {
            #expect(world.ed25519Verify(publicKey: key, signature: signature, message))
            #expect(!world.ed25519Verify(publicKey: key, signature: signature, message + [0]))
            #expect(!world.ed25519Verify(publicKey: stranger, signature: signature, message))
            var changed = signature
            changed[63] ^= 1
            #expect(!world.ed25519Verify(publicKey: key, signature: changed, message))
            // What stands where must not matter only in sum.
            #expect(!world.ed25519Verify(publicKey: key + signature[..<1], signature: Array(signature[1...]), message))
        }
    }

    @Test("A table of recent results forgets the oldest, and stays within two generations")
    func recentTable() {
        var table = RecentTable<Int, Int>(generation: 10)
        for key in 0..<1000 {
            table[key] = key
            #expect(table[key] == key && table.count <= 20)
        }
        #expect(table[999 - 5] == 994 && table[900] == nil)
    }

    @Test("Packets of a simulated world are sealed as OpenSSL seals them")
    func packets() {
        let secret = (0..<32).map { UInt8($0) }
        let (simulated, reference) = (PacketCiphers.forSimulation().key(secret), OpenSSLCipher().key(secret))
        for count in [0, 1, 32, 80, 1420] {
            var (a, b) = ([UInt8](repeating: 3, count: count + 16), [UInt8](repeating: 3, count: count + 16))
            a.withUnsafeMutableBytes { simulated.seal($0.baseAddress!, count: count, counter: 77) }
            b.withUnsafeMutableBytes { reference.seal($0.baseAddress!, count: count, counter: 77) }
            #expect(a == b)
        }
    }

    @Test("Every kind of event has its name")
    func eventKinds() {
        let names = (0...8).compactMap { EventKind(rawValue: $0)?.name }
        #expect(names.count == 9 && EventKind(rawValue: 9) == nil)
        #expect(EventKind.service.name == "service" && EventKind.action.name == "action")
    }
}
