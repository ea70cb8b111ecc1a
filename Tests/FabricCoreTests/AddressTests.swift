import FabricCore
import FabricTestSupport
import Testing

@Suite struct AddressTests {
    @Test(
        "addresses are written as RFC 5952 says",
        arguments: [
            // Section 4.1 to 4.3, and the ambiguities of section 2.
            ("2001:0db8::0001", "2001:db8::1"), ("2001:db8:0:0:0:0:2:1", "2001:db8::2:1"),
            ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"), ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
            ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"), ("2001:DB8::AbCd", "2001:db8::abcd"),
            ("2001:db8:aaaa:bbbb:cccc:dddd::1", "2001:db8:aaaa:bbbb:cccc:dddd:0:1"),
            // RFC 4291 section 2.2.
            ("ABCD:EF01:2345:6789:ABCD:EF01:2345:6789", "abcd:ef01:2345:6789:abcd:ef01:2345:6789"),
            ("FF01:0:0:0:0:0:0:101", "ff01::101"), ("0:0:0:0:0:0:0:1", "::1"), ("0:0:0:0:0:0:0:0", "::"),
            ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"), ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"), ("1::", "1::"),
            ("0:0:0:0:0:0:13.1.68.3", "::d01:4403"), ("::FFFF:129.144.52.38", "::ffff:8190:3426"),
            ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"),
            ("0.0.0.0", "0.0.0.0"), ("255.255.255.255", "255.255.255.255"), ("192.0.2.33", "192.0.2.33"),
        ])
    func canonicalText(text: String, canonical: String) throws {
        let address = try #require(IPAddress(text))
        #expect(address.description == canonical)
        #expect(IPAddress(canonical) == address)
    }

    @Test(
        "text that is not an address is refused",
        arguments: [
            "", ".", ":", ":::", "1", "1.2.3", "1.2.3.4.5", "1.2.3.", ".1.2.3", "1..2.3", "256.0.0.1", "01.2.3.4",
            "1.2.3.00",
            "1.2.3.4 ", " 1.2.3.4", "+1.2.3.4", "1.2.3.-4", "0x1.2.3.4", "1.2.3.1000", "１.2.3.4", "1.2.3.4/8",
            "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "::1::", "1::2::3", "12345::", "g::", "+1::",
            "-1::",
            ":1:2:3:4:5:6:7", "1:2:3:4:5:6:7:", "fe80::1%eth0", "[::1]", "::1.2.3", "::1.2.3.4.5", "1.2.3.4::",
            "::1.2.3.4:5", "1:2:3:4:5:6:7:1.2.3.4", "::256.0.0.1", "::01.2.3.4", "1:2:3:4:5:6:7:8:1.2.3.4",
        ])
    func refusedText(text: String) { #expect(IPAddress(text) == nil) }

    @Test func `addresses have four or sixteen bytes in network order`() throws {
        let v4 = IPAddress(v4: 0xC000_0221)
        #expect(v4.bytes == [192, 0, 2, 33])
        #expect(v4.description == "192.0.2.33")
        let v6 = try #require(IPAddress("2001:db8::102"))
        #expect(v6.bytes == [0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2])
        for address in [v4, v6] { #expect(IPAddress(bytes: address.bytes) == address) }
        for count in [0, 1, 3, 5, 15, 17] { #expect(IPAddress(bytes: [UInt8](repeating: 1, count: count)) == nil) }
    }

    @Test func `addresses are ordered by family, then by value`() {
        let texts = ["0.0.0.0", "9.9.9.9", "10.0.0.0", "255.255.255.255", "::", "::1", "::ffff:ffff", "1::", "ffff::"]
        let addresses = texts.compactMap(IPAddress.init)
        #expect(addresses.count == texts.count)
        #expect(addresses.reversed().sorted() == addresses)
        #expect(IPAddress("0.0.0.1") != IPAddress("::1"))
    }

    @Test(
        "endpoints are read back as written",
        arguments: ["192.0.2.1:51820", "[2001:db8::1]:443", "0.0.0.0:0", "[::]:65535"])
    func endpoints(text: String) throws { #expect(try #require(Endpoint(text)).description == text) }

    @Test(
        "text that is not an endpoint is refused",
        arguments: [
            "", ":", "1.2.3.4", "1.2.3.4:", "1.2.3.4:65536", "1.2.3.4:-1", "1.2.3.4:+1", "1.2.3.4:080", "1.2.3.4: 80",
            "::1:80", "[::1]", "[::1]:", "[1.2.3.4]:80", "[::1:80", "::1]:80", "[[::1]]:80", "host:80", ":80",
            "1.2.3.4:99999999999999999999",
        ])
    func refusedEndpoints(text: String) { #expect(Endpoint(text) == nil) }

    @Test(
        "prefixes are read back as written",
        arguments: ["0.0.0.0/0", "10.0.0.0/8", "192.0.2.1/32", "::/0", "2001:db8::/32", "fd00::/127", "fd00::1/128"])
    func prefixes(text: String) throws { #expect(try #require(IPPrefix(text)).description == text) }

    @Test(
        "text that is not a prefix, or has host bits, is refused",
        arguments: [
            "", "/", "10.0.0.0", "10.0.0.0/", "/8", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0.1/8", "0.0.0.1/0", "2001:db8::1/64", "8000::/0", "10.0.0.0/8/8", "10.0.0.0/99999999999999999999",
            "10.0.0.0/255.0.0.0",
        ])
    func refusedPrefixes(text: String) { #expect(IPPrefix(text) == nil) }

    @Test(
        arguments: [
            ("10.78.0.1/24", "10.78.0.1/24", "10.78.0.0/24"), ("10.78.0.1", "10.78.0.1/32", "10.78.0.1/32"),
            ("fd78::1/64", "fd78::1/64", "fd78::/64"), ("fd78::1", "fd78::1/128", "fd78::1/128"),
        ])
    func `an interface's address keeps the bits behind its prefix`(text: String, whole: String, network: String) throws
    {
        let address = try #require(InterfaceAddress(text))
        #expect(address.description == whole && address.network.description == network)
    }

    @Test(arguments: [
        "", "/24", "10.0.0.1/", "10.0.0.1/33", "10.0.0.1/-1", "10.0.0.1/08", "10.0.0.1/8/8", "fd78::1/129",
    ])
    func `what is no interface's address is refused`(text: String) { #expect(InterfaceAddress(text) == nil) }

    @Test(
        arguments: [
            ("10.0.0.0/8", "10.1.0.0/16", true), ("10.1.0.0/16", "10.0.0.0/8", true),
            ("10.0.0.0/9", "10.128.0.0/9", false),
            ("::/0", "fd00::/8", true), ("::/0", "10.0.0.0/8", false), ("10.0.0.1/32", "10.0.0.1/32", true),
        ])
    func `prefixes overlap when one is within the other`(a: String, b: String, overlap: Bool) throws {
        let (one, other) = (try #require(IPPrefix(a)), try #require(IPPrefix(b)))
        #expect(one.overlaps(other) == overlap && other.overlaps(one) == overlap)
        #expect(one.contains(other) == (overlap && one.length <= other.length))
    }

    @Test func `a prefix clears host bits at every length`() throws {
        let v4 = IPAddress(v4: .max)
        for length in 0...32 {
            let prefix = try #require(IPPrefix(v4, length: length))
            #expect(prefix.address.low.nonzeroBitCount == length)
            #expect(prefix.contains(v4) && prefix.contains(prefix.address))
        }
        let v6 = IPAddress(v6High: .max, low: .max)
        for length in 0...128 {
            let prefix = try #require(IPPrefix(v6, length: length))
            #expect(prefix.address.high.nonzeroBitCount + prefix.address.low.nonzeroBitCount == length)
            #expect(prefix.address.high.leadingZeroBitCount == (length == 0 ? 64 : 0))
        }
        for length in [-1, 33] { #expect(IPPrefix(v4, length: length) == nil) }
        for length in [-1, 129, Int.min, Int.max] { #expect(IPPrefix(v6, length: length) == nil) }
    }

    @Test(
        "a prefix contains what shares its bits and family",
        arguments: [
            ("10.0.0.0/8", "10.255.255.255", true), ("10.0.0.0/8", "11.0.0.0", false), ("0.0.0.0/0", "::1", false),
            ("::/0", "1.2.3.4", false), ("2001:db8::/33", "2001:db8:7fff::1", true),
            ("2001:db8::/33", "2001:db8:8000::", false),
            ("fd00::2/127", "fd00::3", true), ("fd00::2/127", "fd00::4", false), ("0.0.0.0/0", "9.9.9.9", true),
        ])
    func containment(prefix: String, address: String, contained: Bool) throws {
        #expect(try #require(IPPrefix(prefix)).contains(try #require(IPAddress(address))) == contained)
    }

    @Test func `whatever is read as an address, endpoint or prefix is read back the same`() throws {
        let corpus = [
            "2001:db8::1", "::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1:51820", "[2001:db8::1]:443", "10.0.0.0/8",
            "fd00::/127",
        ].map { Array($0.utf8) }
        try Fuzz.run(corpus: corpus, seed: 1, iterations: 3_000) { bytes in
            let text = String(decoding: bytes, as: UTF8.self)
            if let address = IPAddress(text) { #expect(IPAddress(address.description) == address) }
            if let endpoint = Endpoint(text) { #expect(Endpoint(endpoint.description) == endpoint) }
            if let prefix = IPPrefix(text) { #expect(IPPrefix(prefix.description) == prefix) }
        }
    }
}
