import FabricCore
import FabricTestSupport
import Testing

struct HostNameTests {
    @Test(arguments: ["a", "control.example.net", "x-1.y", "3com.example", "a.b.c.d.e", "1.2.3.x"])
    func `names of letters, digits and hyphens are taken as they are`(_ text: String) throws {
        #expect(try #require(HostName(text)).text == text)
    }

    @Test func `case and the dot at the end make no difference`() {
        #expect(HostName("Control.Example.NET.") == HostName("control.example.net"))
    }

    @Test(arguments: [
        "", ".", "a..b", ".a", "-a", "a-", "a.-b", "a-.b", "a_b", "ä", "a b", "192.0.2.1", "1.2.3", "7", "a.b..", "a/b",
        "a:1",
        String(repeating: "a", count: 64), String(repeating: "ab.", count: 84) + "cd",
    ])
    func `what is no name, or would be taken for an address, is refused`(_ text: String) {
        #expect(HostName(text) == nil)
    }

    @Test func `a label of 63 and a name of 253 bytes are the longest`() {
        #expect(HostName(String(repeating: "a", count: 63)) != nil)
        let longest = String(repeating: "abcdefg.", count: 31) + "abcde"
        #expect(longest.utf8.count == 253 && HostName(longest) != nil && HostName(longest + "f") == nil)
    }

    @Test func `a server is an address or a name, with a port`() {
        #expect(ServerAddress("192.0.2.1:8443") == .address(Endpoint("192.0.2.1:8443")!))
        #expect(ServerAddress("[2001:db8::1]:8443") == .address(Endpoint("[2001:db8::1]:8443")!))
        #expect(ServerAddress("Control.example.net:8443")?.description == "control.example.net:8443")
        for text in [
            "control.example.net", "control:0", "control:65536", "control:+1", "control:01", ":1", "1.2.3:4", "a b:1",
        ] {
            #expect(ServerAddress(text) == nil, "\(text)")
        }
    }

    @Test func `whatever is read as a name or server is written the same way again`() throws {
        let corpus = ["control.example.net:8443", "a-b.c", "192.0.2.1:1", "[::1]:65535", "x.1y:80"].map {
            Array($0.utf8)
        }
        try Fuzz.run(corpus: corpus, seed: 1, iterations: 5_000) { bytes in
            let text = String(decoding: bytes, as: UTF8.self)
            if let name = HostName(text) { #expect(HostName(name.text) == name) }
            if let server = ServerAddress(text) { #expect(ServerAddress(server.description) == server) }
        }
    }
}
