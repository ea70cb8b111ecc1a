import FabricCore
import Testing

@testable import FabricCrypto

/// The ciphers of packets. libipsec-mb's tests run where the library is.
@Suite struct PacketCipherTests {
    static let hasMultiBuffer = MultiBufferCipher() != nil

    /// Does what OpenSSL does, but for one thing.
    private final class Wrong: PacketCipher {
        enum Fault: CaseIterable { case tag, takesAnything, refusesAll }
        final class Key: PacketKey {
            let fault: Fault
            let key: any PacketKey
            init(_ fault: Fault, _ key: any PacketKey) { (self.fault, self.key) = (fault, key) }
            func seal(_ bytes: UnsafeMutableRawPointer, count: Int, counter: UInt64) {
                key.seal(bytes, count: count, counter: counter)
                if fault == .tag { (bytes + count).storeBytes(of: 0, as: UInt8.self) }
            }
            func open(_ bytes: UnsafeMutableRawPointer, count: Int, counter: UInt64) -> Bool {
                let opened = key.open(bytes, count: count, counter: counter)
                return fault == .takesAnything || fault == .tag && opened
            }
        }
        let name = "wrong"
        let fault: Fault
        init(_ fault: Fault) { self.fault = fault }
        func key(_ key: [UInt8]) -> any PacketKey { Key(fault, OpenSSLCipher().key(key)) }
    }

    @Test(.enabled(if: hasMultiBuffer, "libipsec-mb 1.3 is not installed"))
    func `libipsec-mb matches RFC 8439 section 2 point 8 point 2`() throws {
        let cipher = try #require(MultiBufferCipher())
        let key = (0x80..<0xA0).map { UInt8($0) }
        let nonce: [UInt8] = [7, 0, 0, 0, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47]
        let header = Hex.decode("50515253c0c1c2c3c4c5c6c7")!
        let text = """
            Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would \
            be it.
            """
        let sealed = Hex.decode(
            """
            d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b\
            1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc\
            3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691
            """)!
        func process(_ bytes: [UInt8], _ header: [UInt8], sealing: Bool) -> [UInt8]? {
            cipher.process(key: key, nonce: nonce, bytes, authenticating: header, sealing: sealing)
        }
        #expect(process(Array(text.utf8), header, sealing: true) == sealed)
        #expect(process(sealed, header, sealing: false) == Array(text.utf8))
        #expect(process(sealed, [], sealing: false) == nil)
        for bad in [0, 50, sealed.count - 1] {
            var forged = sealed
            forged[bad] ^= 1
            #expect(process(forged, header, sealing: false) == nil)
        }
    }

    @Test func `every cipher of this machine does what OpenSSL does`() {
        let ciphers = PacketCiphers.available()
        #expect(ciphers[0].name == "openssl")
        for cipher in ciphers { #expect(PacketCiphers.agrees(cipher, with: OpenSSLCipher()), "\(cipher.name)") }
    }

    @Test func `the fastest cipher is chosen, and a wrong one never`() {
        // Less time passes for whoever is measured second.
        var (time, calls) = (Int64(0), 0)
        let (first, measured) = PacketCiphers.fastest(of: [OpenSSLCipher(), OpenSSLCipher()]) {
            calls += 1
            time += calls % 4 == 0 ? 3_200 : 6_400
            return time
        }
        #expect(measured.map(\.nanoseconds) == [200, 100] && first.name == "openssl")
        for fault in Wrong.Fault.allCases {
            let (cipher, measured) = PacketCiphers.fastest(of: [OpenSSLCipher(), Wrong(fault)]) { 0 }
            #expect(cipher.name == "openssl" && measured.count == 1, "\(fault)")
        }
    }

    @Test func `cryptography seals packets with the cipher that it was given`() {
        for cipher in PacketCiphers.available() {
            let cryptography = SystemCryptography(packetCipher: cipher)
            let key = [UInt8](repeating: 9, count: 32)
            var bytes = [UInt8](repeating: 1, count: 116)
            bytes.withUnsafeMutableBytes {
                cryptography.packetKey(key).seal($0.baseAddress!, count: 100, counter: 4)
            }
            let reference = cryptography.chachaSeal(
                key: key, counter: 4, [UInt8](repeating: 1, count: 100), authenticating: [])
            #expect(bytes == reference)
        }
    }
}
