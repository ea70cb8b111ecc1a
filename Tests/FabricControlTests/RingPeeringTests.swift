import FabricCore
import FabricPolicy
import FabricWire
import Testing

@Suite("Ring peering")
struct RingPeeringTests {
    private static func nodes(_ count: Int, seed: UInt64 = 3) -> [NodeID] {
        let random = SeededRandom(seed: seed, stream: "ring")
        return (0..<count).map { _ in NodeID(random: random) }
    }

    @Test(arguments: [0, 1, 2, 4, 5, 6, 7, 8, 50], [2, 4, 8])
    func `peers are symmetric, and exactly degree many or everyone`(count: Int, degree: Int) {
        let ring = RingPeering(nodes: Self.nodes(count), degree: degree)
        for node in ring.nodes {
            let peers = ring.neighbours(of: node)
            #expect(peers.count == min(degree, count - 1))
            #expect(peers == peers.sorted() && !peers.contains(node))
            for peer in peers { #expect(ring.neighbours(of: peer).contains(node)) }
        }
    }

    @Test(arguments: 1...30, [2, 4, 6])
    func `a join changes the peers of the new neighbours and of nobody else`(count: Int, degree: Int) throws {
        let all = Self.nodes(count + 1, seed: UInt64(count))
        let newcomer = all[count]
        let before = RingPeering(nodes: all.dropLast(), degree: degree)
        let after = RingPeering(nodes: all, degree: degree)
        let changed = before.nodes.filter { before.neighbours(of: $0) != after.neighbours(of: $0) }
        #expect(changed == before.affectedByJoining(newcomer))
        #expect(changed == after.affectedByLeaving(newcomer))
        #expect(changed.count <= degree)
    }

    @Test func `a stranger has no peers, and a node that stands twice counts once`() {
        let nodes = Self.nodes(4)
        let ring = RingPeering(nodes: nodes + nodes, degree: 2)
        #expect(ring.nodes.count == 4)
        #expect(ring.neighbours(of: NodeID("stranger")!) == [])
    }

    @Test func `a token's scope judges names and domains`() {
        let blue = RoutingDomainID("blue")!
        let scope = ControlAPI.TokenScope(domains: [.fabric, blue], namePrefix: "site-a-")
        #expect(TokenScopePolicy.validate(scope) == .allowed)
        #expect(TokenScopePolicy.evaluate(scope, name: "site-a-1", domains: [.fabric, blue]) == .allowed)
        #expect(TokenScopePolicy.evaluate(scope, name: "site-b-1", domains: [.fabric]) != .allowed)
        #expect(TokenScopePolicy.evaluate(scope, name: "site-a-1", domains: [RoutingDomainID("red")!]) != .allowed)
        #expect(TokenScopePolicy.validate(.init(domains: [blue])) != .allowed)
        #expect(TokenScopePolicy.validate(.init(domains: [.fabric, .fabric])) != .allowed)
        #expect(TokenScopePolicy.validate(.init(domains: [.fabric], namePrefix: "Site")) != .allowed)
    }
}
