import FabricCore
import FabricCrypto
import Testing

private func hex(_ text: String) -> [UInt8] { Hex.decode(text)! }
private func counted(_ range: Range<Int>) -> [UInt8] { range.map { UInt8(truncatingIfNeeded: $0) } }

@Suite struct Digests {
    let cryptography = SystemCryptography()

    @Test func `SHA-256 and HMAC-SHA-256 match FIPS 180-4 and RFC 4231`() {
        #expect(
            cryptography.sha256(Array("abc".utf8))
                == hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"))
        #expect(
            cryptography.hmacSHA256(key: Array("Jefe".utf8), Array("what do ya want for nothing?".utf8))
                == hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"))
    }

    @Test func `BLAKE2s matches RFC 7693 appendix B, also when the context is reused`() {
        for _ in 0..<3 {
            #expect(
                cryptography.blake2s(Array("abc".utf8))
                    == hex("508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"))
            #expect(
                cryptography.blake2s([]) == hex("69217a3079908094e11121d042354a7c1f55b6482ca1a51e1b250dfd1ed0eef9"))
        }
    }

    /// RFC 7693's reference code as CPython carries it: `hashlib.blake2s(data, key=…, digest_size=16)`.
    @Test(
        "Keyed BLAKE2s of 16 bytes matches the reference code",
        arguments: [
            (32, 0, "9536f9b267655743dee97b8a670f9f53"), (32, 1, "13bacfb85b48a1223c595f8c1e7e82cb"),
            (32, 64, "f1efa90d2547036841ecd3627fafbc36"), (16, 65, "9018c671bb7e94a6d540a91765bbecad"),
            (1, 255, "a0dc2a83a1ad9a9179db4a0bd4cbaa82"),
            (32, 300, "b1ab4fe31bcfdb3d499544f78b9a51ad"),
        ])
    func keyed(key: Int, data: Int, expected: String) {
        #expect(cryptography.blake2sMAC(key: counted(0..<key), counted(0..<data)) == hex(expected))
    }

    @Test func `Keyed BLAKE2s forgets the key of the call before`() {
        let first = cryptography.blake2sMAC(key: counted(0..<32), [1])
        #expect(cryptography.blake2sMAC(key: counted(0..<16), [1]) != first)
        #expect(cryptography.blake2sMAC(key: counted(0..<32), [1]) == first)
    }

    /// `hmac.new(key, data, hashlib.blake2s)`.
    @Test(
        "HMAC-BLAKE2s matches the reference code",
        arguments: [
            (32, 0, "e2641d24dfa8dd89e8cb77f1cdc77d8c006e5bebdfc4d6a3a3a6f8d5b7586fb0"),
            (32, 1, "3c657ea8362eeb115466cc90a81a36d2994b7153729c01f50a19be2ca3cce643"),
            (64, 100, "647576eb06d7546ce6db9b3c0c1509a64cc7fae9cb732ee3845e7b486ad26edc"),
            (65, 32, "f2f02c70aed8816934fb1e9ef3ef5bfcd4485664bba8e1da8a90b59862f390b2"),
            (0, 3, "76e35a07e2d397d088ab0555ccf434c033f23f2f86e8d72f458013b431dfbdc2"),
        ])
    func hmac(key: Int, data: Int, expected: String) {
        #expect(cryptography.hmacBLAKE2s(key: counted(0..<key), counted(0..<data)) == hex(expected))
    }
}

@Suite struct Curves {
    let cryptography = SystemCryptography()

    @Test(
        "Ed25519 matches RFC 8032 section 7.1",
        arguments: [
            (
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
            ),
            (
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
            ),
            (
                "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
                "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
            ),
        ])
    func ed25519(seed: String, publicKey: String, message: String, signature: String) throws {
        #expect(try cryptography.ed25519PublicKey(seed: hex(seed)) == hex(publicKey))
        for _ in 0..<3 {
            #expect(try cryptography.ed25519Sign(seed: hex(seed), hex(message)) == hex(signature), "must repeat")
        }
        #expect(cryptography.ed25519Verify(publicKey: hex(publicKey), signature: hex(signature), hex(message)))
        #expect(!cryptography.ed25519Verify(publicKey: hex(publicKey), signature: hex(signature), hex(message) + [0]))
        var forged = hex(signature)
        forged[40] ^= 1
        #expect(!cryptography.ed25519Verify(publicKey: hex(publicKey), signature: forged, hex(message)))
    }

    @Test func `Signatures and keys of the wrong length are refused, not trapped on`() {
        for length in [0, 1, 31, 33, 63, 65, 1000] {
            let bytes = [UInt8](repeating: 7, count: length)
            #expect(!cryptography.ed25519Verify(publicKey: bytes, signature: bytes, []))
            #expect(throws: CryptographyError.malformedKey) { try cryptography.ed25519Sign(seed: bytes, []) }
            #expect(throws: CryptographyError.malformedKey) { try cryptography.x25519PublicKey(privateKey: bytes) }
            #expect(throws: CryptographyError.malformedKey) {
                try cryptography.x25519(privateKey: counted(0..<32), publicKey: bytes)
            }
        }
    }

    @Test func `X25519 matches RFC 7748 sections 5.2 and 6.1`() throws {
        #expect(
            try cryptography.x25519(
                privateKey: hex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
                publicKey: hex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"))
                == hex("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"))
        let alice = hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
        let bob = hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
        let alicePublic = try cryptography.x25519PublicKey(privateKey: alice)
        let bobPublic = try cryptography.x25519PublicKey(privateKey: bob)
        #expect(alicePublic == hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"))
        #expect(bobPublic == hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"))
        let shared = hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
        #expect(try cryptography.x25519(privateKey: alice, publicKey: bobPublic) == shared)
        #expect(try cryptography.x25519(privateKey: bob, publicKey: alicePublic) == shared)
    }

    @Test func `X25519 iterated a thousand times matches RFC 7748 section 5.2`() throws {
        var k = [9] + [UInt8](repeating: 0, count: 31)
        var u = k
        for _ in 0..<1000 { (k, u) = (try cryptography.x25519(privateKey: k, publicKey: u), k) }
        #expect(k == hex("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"))
    }

    @Test func `A low-order point is refused`() {
        for point in [
            [UInt8](repeating: 0, count: 32), [1] + [UInt8](repeating: 0, count: 31),
            hex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        ] {
            #expect(throws: CryptographyError.lowOrderPoint) {
                try cryptography.x25519(privateKey: counted(1..<33), publicKey: point)
            }
        }
    }
}

@Suite struct AuthenticatedEncryption {
    let cryptography = SystemCryptography()

    @Test func `ChaCha20-Poly1305 matches RFC 8439 appendix A.5`() {
        let key = hex("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0")
        let header = hex("f33388860000000000004e91")
        let text = """
            Internet-Drafts are draft documents valid for a maximum of six months and may be updated, replaced, or \
            obsoleted by other documents at any time. It is inappropriate to use Internet-Drafts as reference material \
            or to cite them other than as /“work in progress./”
            """
        let sealed = hex(
            """
            64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb24c6cfc18755d43eea09ee94e382d26b0\
            bdb7b73c321b0100d4f03b7f355894cf332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c855\
            9797a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4b9166c767b804d46a59b5216cde7a4e9\
            9040c5a40433225ee282a1b0a06c523eaf4534d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273f548271a\
            0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a1049e617d91d361094fa68f0ff77987130\
            305beaba2eda04df997b714d6c6f2c29a6ad5cb4022b02709beead9d67890cbb22392336fea1851f38
            """)
        let counter: UInt64 = 0x0807_0605_0403_0201
        #expect(
            cryptography.chachaSeal(key: key, counter: counter, Array(text.utf8), authenticating: header) == sealed)
        #expect(
            cryptography.chachaOpen(key: key, counter: counter, sealed, authenticating: header) == Array(text.utf8))
        #expect(cryptography.chachaOpen(key: key, counter: counter + 1, sealed, authenticating: header) == nil)
        #expect(cryptography.chachaOpen(key: key, counter: counter, sealed, authenticating: []) == nil)
        for index in [0, 100, sealed.count - 1] {
            var forged = sealed
            forged[index] ^= 0x80
            #expect(cryptography.chachaOpen(key: key, counter: counter, forged, authenticating: header) == nil)
        }
        for length in 0..<16 {
            #expect(
                cryptography.chachaOpen(key: key, counter: 0, Array(sealed[..<length]), authenticating: []) == nil)
        }
    }

    @Test func `XChaCha20-Poly1305 matches draft-irtf-cfrg-xchacha-03 appendix A.3.1`() {
        let text = """
            Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would \
            be it.
            """
        let key = counted(0x80..<0xA0)
        let nonce = counted(0x40..<0x58)
        let header = hex("50515253c0c1c2c3c4c5c6c7")
        let sealed = hex(
            "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb"
                + "731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452"
                + "2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9"
                + "21f9664c97637da9768812f615c68b13b52e" + "c0875924c1c7987947deafd8780acf49")
        #expect(cryptography.xchachaSeal(key: key, nonce: nonce, Array(text.utf8), authenticating: header) == sealed)
        #expect(cryptography.xchachaOpen(key: key, nonce: nonce, sealed, authenticating: header) == Array(text.utf8))
        #expect(cryptography.xchachaOpen(key: key, nonce: counted(0x41..<0x59), sealed, authenticating: header) == nil)
        #expect(cryptography.xchachaOpen(key: key, nonce: nonce, sealed, authenticating: []) == nil)
    }

    @Test func `A packet key seals what the array form opens, in any order of counters`() {
        let key = counted(7..<39)
        let packetKey = cryptography.packetKey(key)
        for (length, counter) in [(0, UInt64(0)), (1, 5), (64, 3), (1420, .max), (65_535, 1 << 40), (16, 0)] {
            let plaintext = counted(0..<length)
            var buffer = plaintext + [UInt8](repeating: 0xEE, count: 16)
            buffer.withUnsafeMutableBytes { packetKey.seal($0.baseAddress!, count: length, counter: counter) }
            #expect(buffer == cryptography.chachaSeal(key: key, counter: counter, plaintext, authenticating: []))
            let opened = buffer.withUnsafeMutableBytes {
                packetKey.open($0.baseAddress!, count: length, counter: counter)
            }
            #expect(opened)
            #expect(Array(buffer[..<length]) == plaintext)
        }
    }

    @Test func `A packet key refuses a changed byte, tag or counter, and goes on working`() {
        let packetKey = cryptography.packetKey(counted(7..<39))
        for change in [0, 50, 99, 100, 115] {
            var buffer = counted(0..<116)
            buffer.withUnsafeMutableBytes { packetKey.seal($0.baseAddress!, count: 100, counter: 9) }
            var forged = buffer
            forged[change] ^= 1
            #expect(!forged.withUnsafeMutableBytes { packetKey.open($0.baseAddress!, count: 100, counter: 9) })
            var late = buffer
            #expect(!late.withUnsafeMutableBytes { packetKey.open($0.baseAddress!, count: 100, counter: 10) })
            #expect(buffer.withUnsafeMutableBytes { packetKey.open($0.baseAddress!, count: 100, counter: 9) })
        }
    }
}

@Suite struct KernelRandomness {
    @Test func `Buffers of any length are filled, and no two alike`() {
        let random = KernelRandom()
        #expect(random.bytes(0).isEmpty)
        for length in [32, 255, 256, 257, 1000] {
            let bytes = random.bytes(length)
            #expect(bytes.count == length)
            #expect(bytes != random.bytes(length))
            #expect(bytes.suffix(16).contains { $0 != 0 })
        }
    }
}
